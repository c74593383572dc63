import { QuickJS } from 'quickjs-wasi'
import { type EngineExports, engineExportsOf } from './engine-exports.ts'
import { stillWorld, type World, wasiOf } from './guest-world.ts'
import { PAGE_BYTES, type PristineMemory, pristineMemory } from './pristine-memory.ts'
import type { Engine } from './worker-protocol.ts'

/** A VM in which nothing has run, which an image is brought back to life in. */
export interface PristineVm {
  readonly vm: QuickJS
  readonly engine: EngineExports
  /** Stands still until the VM gets its guest. */
  readonly world: World
  readonly memory: PristineMemory
  /**
   * Makes it pristine again, for another rehearsal or for a guest. All that the engine remembers is in its memory and in
   * the stack pointer, or no image could bring a VM back to life.
   */
  reset(): void
}

/**
 * Makes one. Clock and chance stand still meanwhile: the engine writes what they say into its memory. `like` is an earlier
 * one of the same engine: its memory is copied into a new instance, which saves the engine its start.
 */
export async function pristineVm(module: Engine, like?: PristineVm['memory']): Promise<PristineVm> {
  const world = stillWorld()
  const options = { wasm: module.module as never, timezoneOffset: 0, wasi: wasiOf(world) }
  if (like !== undefined) {
    const { runtime: runtimePtr, context: contextPtr, stackPointer } = like.pointers
    const empty = { memory: new Uint8Array(0), stackPointer, runtimePtr, contextPtr, extensions: [] }
    const vm = await QuickJS.restore(empty, options)
    const engine = engineExportsOf(vm)
    const missing = like.pages - engine.memory.buffer.byteLength / PAGE_BYTES
    if (missing > 0) engine.memory.grow(missing)
    like.writeToNew(engine.memory.buffer)
    return pristine(vm, engine, world, like)
  }
  const vm = await QuickJS.create(options)
  const engine = engineExportsOf(vm)
  const memory = pristineMemory(engine.memory.buffer, {
    stackPointer: engine.__stack_pointer.value,
    runtime: engine.qjs_get_runtime_ptr(),
    context: engine.qjs_get_context_ptr()
  })
  return pristine(vm, engine, world, memory)
}

const pristine = (vm: QuickJS, engine: EngineExports, world: World, memory: PristineMemory): PristineVm => ({
  vm,
  engine,
  world,
  memory,
  reset() {
    Object.assign(world, stillWorld())
    // Writing all of it also has the system map the pages now, and not while somebody waits for a guest.
    memory.writeTo(engine.memory.buffer)
    engine.__stack_pointer.value = memory.pointers.stackPointer
  }
})
