import type { EngineExports } from './engine-exports.ts'

/** Text that was copied into the VM's memory; the caller frees the address. */
interface WrittenText {
  readonly address: number
  readonly bytes: number
}

/** What the prelude's function gave. The box is the caller's to free. */
type Dispatched = { readonly value: number } | { readonly thrown: number } | 'no-memory'

/**
 * Text and calls across the boundary, by addresses: the classes of `quickjs-wasi` read a thrown value's properties in
 * their constructors, which runs guest code where none must run.
 */
export interface EngineCalls {
  /** Undefined when there is no room for it. */
  writeText(text: string): WrittenText | undefined
  readText(box: number): string | undefined
  /** Makes a guest string. Undefined when memory is out. */
  stringBox(text: string): number | undefined
  /** Calls the prelude's function. The boxes handed in are freed. */
  dispatch(operation: string, args: readonly number[]): Dispatched
  /** The text that an operation gives; undefined when it throws or memory is out. */
  textFrom(operation: string, args: readonly number[]): string | undefined
  property(objectBox: number, name: string): number | undefined
}

/** Calls of `engine`, whose prelude's function is in the box `dispatcher`. */
export function engineCalls(engine: EngineExports, dispatcher: number): EngineCalls {
  const decoder = new TextDecoder()
  const encoder = new TextEncoder()

  const writeText = (text: string): WrittenText | undefined => {
    const encoded = encoder.encode(text)
    const address = engine.wasm_malloc(encoded.length + 1)
    if (address === 0) return undefined
    const memory = new Uint8Array(engine.memory.buffer)
    memory.set(encoded, address)
    memory[address + encoded.length] = 0
    return { address, bytes: encoded.length }
  }

  const readText = (box: number): string | undefined => {
    const out = engine.wasm_malloc(4)
    if (out === 0) return undefined
    const text = engine.qjs_get_string_len(box, out)
    const bytes = new DataView(engine.memory.buffer).getUint32(out, true)
    engine.wasm_free(out)
    if (text === 0) {
      engine.qjs_free_value(engine.qjs_get_exception())
      return undefined
    }
    const read = decoder.decode(new Uint8Array(engine.memory.buffer, text, bytes))
    engine.qjs_free_cstring(text)
    return read
  }

  const stringBox = (text: string): number | undefined => {
    const written = writeText(text)
    if (written === undefined) return undefined
    const box = engine.qjs_new_string(written.address, written.bytes)
    engine.wasm_free(written.address)
    if (engine.qjs_is_exception(box) === 0) return box
    engine.qjs_free_value(box)
    engine.qjs_free_value(engine.qjs_get_exception())
    return undefined
  }

  const dispatch = (operation: string, args: readonly number[]): Dispatched => {
    const name = stringBox(operation)
    const list = name === undefined ? 0 : engine.wasm_malloc(4 * (args.length + 1))
    const boxes = name === undefined ? args : [name, ...args]
    let result: number | undefined
    if (list !== 0) {
      const view = new DataView(engine.memory.buffer)
      for (const [at, box] of boxes.entries()) view.setUint32(list + at * 4, box, true)
      const undefinedBox = engine.qjs_get_undefined()
      result = engine.qjs_call(dispatcher, undefinedBox, boxes.length, list)
      engine.qjs_free_value(undefinedBox)
      engine.wasm_free(list)
    }
    for (const box of boxes) engine.qjs_free_value(box)
    if (result === undefined) return 'no-memory'
    if (engine.qjs_is_exception(result) === 0) return { value: result }
    engine.qjs_free_value(result)
    return { thrown: engine.qjs_get_exception() }
  }

  const textFrom = (operation: string, args: readonly number[]): string | undefined => {
    const result = dispatch(operation, args)
    if (result === 'no-memory') return undefined
    const box = 'value' in result ? result.value : result.thrown
    const text = 'value' in result ? readText(box) : undefined
    engine.qjs_free_value(box)
    return text
  }

  const property = (objectBox: number, name: string): number | undefined => {
    const written = writeText(name)
    if (written === undefined) return undefined
    const box = engine.qjs_get_prop_string(objectBox, written.address)
    engine.wasm_free(written.address)
    return box
  }

  return { writeText, readText, stringBox, dispatch, textFrom, property }
}
