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
}

/** Makes one. Clock and chance stand still meanwhile: the engine writes what they say into its memory. */
export async function pristineVm(module: Engine): Promise<PristineVm> {
  const world = stillWorld()
  const vm = await QuickJS.create({ wasm: module.module as never, timezoneOffset: 0, wasi: wasiOf(world) })
  const engine = engineExportsOf(vm)
  return { vm, engine, world, memory: pristineMemory(engine.memory.buffer) }
}
