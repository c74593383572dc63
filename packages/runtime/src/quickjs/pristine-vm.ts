import { QuickJS } from 'quickjs-wasi'
import { type EngineExports, engineExportsOf } from './engine-exports.ts'
import { stillWorld, type World, wasiOf } from './guest-world.ts'
import { type PristineMemory, pristineMemory } from './pristine-memory.ts'
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

/** Makes one. Clock and chance stand still meanwhile: the engine writes what they say into its memory. */
export async function pristineVm(module: Engine): Promise<PristineVm> {
  const world = stillWorld()
  const vm = await QuickJS.create({ wasm: module.module as never, timezoneOffset: 0, wasi: wasiOf(world) })
  const engine = engineExportsOf(vm)
  const memory = pristineMemory(engine.memory.buffer)
  const stackPointer = engine.__stack_pointer.value
  return {
    vm,
    engine,
    world,
    memory,
    reset() {
      Object.assign(world, stillWorld())
      // Writing all of it also has the system map the pages now, and not while somebody waits for a guest.
      memory.writeTo(engine.memory.buffer)
      engine.__stack_pointer.value = stackPointer
    }
  }
}
