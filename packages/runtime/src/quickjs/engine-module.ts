import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { RuntimeError } from '../runtime-error.ts'
import { guestPrelude } from './guest-prelude.ts'
import type { CompiledModule, Engine } from './worker-protocol.ts'

/** The QuickJS module, identified by its bytes and ready to be compiled under a cap. */
export interface EngineModule {
  /** SHA-256 of the module's bytes and the prelude. */
  readonly hash: Uint8Array<ArrayBuffer>
  /** The module with a maximum of `pages` in its memory section; compiled once per cap, and the same object then. */
  capped(pages: number): Promise<Engine>
}

/** The one function that Node's types leave out of `WebAssembly`. */
const { compile } = (
  globalThis as unknown as { readonly WebAssembly: { compile(module: Uint8Array): Promise<CompiledModule> } }
).WebAssembly

/** Compiled modules kept; a deployment uses a handful of limits, and each costs about 2 MB of machine code. */
const COMPILED_MAX = 16

/** Finds, hashes and checks the module. `bytes` replaces the one that the `quickjs-wasi` package ships. */
export async function loadEngine(bytes: Uint8Array | undefined): Promise<EngineModule> {
  const module = bytes === undefined ? await shippedBytes() : Uint8Array.from(bytes)
  // The prelude too: it lives in every image, and a host that expects another one would call what is not there.
  const build = createHash('sha256').update(module).update(guestPrelude)
  const hash = new Uint8Array(build.digest())
  const compiled = new Map<number, Promise<Engine>>()
  // Refuses what is no module, or has no memory section to cap, at once.
  capMemory(module, 65_536)
  return {
    hash,
    capped(pages) {
      const known = compiled.get(pages)
      if (known !== undefined) return known
      const oldest = compiled.keys().next()
      if (compiled.size >= COMPILED_MAX && oldest.done !== true) compiled.delete(oldest.value)
      const fresh = compile(capMemory(module, pages)).then(
        (compiledModule) => ({ module: compiledModule, memoryCapBytes: pages * 65_536, hash }),
        (error: unknown) => {
          compiled.delete(pages)
          throw unavailable('it does not compile', error)
        }
      )
      compiled.set(pages, fresh)
      return fresh
    }
  }
}

async function shippedBytes(): Promise<Uint8Array<ArrayBuffer>> {
  try {
    return new Uint8Array(await readFile(createRequire(import.meta.url).resolve('quickjs-wasi/quickjs.wasm')))
  } catch (error) {
    throw unavailable(
      "'quickjs-wasi/quickjs.wasm' was not found beside this package; pass its bytes as quickjsHost({ wasm })",
      error
    )
  }
}

function unavailable(reason: string, cause?: unknown): RuntimeError<'ENGINE_UNAVAILABLE'> {
  return new RuntimeError('ENGINE_UNAVAILABLE', `the QuickJS engine cannot be used: ${reason}`, { reason }, { cause })
}

const MEMORY_SECTION = 5

/**
 * Gives the module's own memory a maximum (WebAssembly core spec 2.0 §5.5.8: limits `00 min` become `01 min max`), so
 * that V8 refuses to grow it whatever the engine's accounting says.
 */
function capMemory(module: Uint8Array<ArrayBuffer>, pages: number): Uint8Array<ArrayBuffer> {
  // §5.5.16: four bytes of magic, four of version, then sections of id, size and contents.
  if (module.length < 8 || new DataView(module.buffer).getUint32(0, false) !== 0x0061736d) {
    throw unavailable('it is not a WebAssembly module')
  }
  let at = 8
  while (at < module.length) {
    const size = readUnsigned(module, at + 1)
    const end = size.next + size.value
    if (module[at] === MEMORY_SECTION) {
      const count = readUnsigned(module, size.next)
      const minimum = readUnsigned(module, count.next + 1)
      if (count.value !== 1 || module[count.next] !== 0) throw unavailable('its memory section is not the expected one')
      const contents = [1, 1, ...writeUnsigned(minimum.value), ...writeUnsigned(pages)]
      const section = [MEMORY_SECTION, ...writeUnsigned(contents.length), ...contents]
      const capped = new Uint8Array(at + section.length + module.length - end)
      capped.set(module.subarray(0, at))
      capped.set(section, at)
      capped.set(module.subarray(end), at + section.length)
      return capped
    }
    at = end
  }
  throw unavailable('it has no memory of its own')
}

/** LEB128, §5.2.2: at most five bytes for 32 bits. */
function readUnsigned(bytes: Uint8Array, at: number): { readonly value: number; readonly next: number } {
  let value = 0
  for (let n = 0; n < 5; n += 1) {
    const byte = bytes[at + n]
    if (byte === undefined) break
    value += (byte & 0x7f) * 2 ** (7 * n)
    if (byte < 0x80) return { value, next: at + n + 1 }
  }
  throw unavailable('it is cut short')
}

function writeUnsigned(value: number): number[] {
  const bytes: number[] = []
  let rest = value
  do {
    bytes.push((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0))
    rest = Math.floor(rest / 128)
  } while (rest > 0)
  return bytes
}
