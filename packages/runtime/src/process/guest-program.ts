import { createHook } from 'node:async_hooks'
import { Session } from 'node:inspector'
import { createRequire } from 'node:module'
import process from 'node:process'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { Worker } from 'node:worker_threads'
import type { ConsoleLine, GuestNotice, HostAnswer } from '../sandbox/sandbox-host.ts'
import { BOUNDS, type FromGuest, type Opening, type ToControl, type ToMain } from './guest-protocol.ts'
import { cut, described, errorOf, jsonOf, parsedOf, shown } from './guest-values.ts'
import { bindWorld } from './guest-world.ts'

/*
 * What runs in the sandbox's process: it evaluates code as Node's own prompt does and answers to the host. Nothing that it
 * says is trusted over there, for the guest's code runs in the same process.
 */

/** Started as `node -e <this program> <the program of the thread that holds the pipe>`. */
const stopWord = new Int32Array(new SharedArrayBuffer(4))
const control = new Worker(process.argv[1] ?? '', { eval: true, workerData: stopWord.buffer })
const post = (message: ToControl): void => control.postMessage(message)
const say = (message: FromGuest): void => post(message)

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

const NativePromise = Promise
const NativeMap = Map
const keep = (name: string, value: unknown): void =>
  void Object.defineProperty(globalThis, name, { value, writable: true, enumerable: false, configurable: true })

/** Of the evaluation under way; whatever an earlier one still does counts for nothing. */
interface Evaluation {
  readonly calls: Map<number, { resolve(value: unknown): void; reject(error: Error): void }>
}
let evaluation: Evaluation | undefined
let lastCallId = 0
let consoleLines = 0
let setWall: (wallAt: number) => void = () => undefined
let save: (() => unknown) | undefined
let stateJson: string | undefined
const listeners = new Set<(notice: GuestNotice) => unknown>()
const notices: GuestNotice[] = []

/**
 * The thread keeps the process up, except while an evaluation waits for something other than the host: then an empty event
 * loop means that nothing can ever settle it.
 */
const holdOrRelease = (): void => {
  if (evaluation === undefined || evaluation.calls.size > 0 || listeners.size > 0) control.ref()
  else control.unref()
}

function writeLine(level: ConsoleLine['level'], text: string): void {
  consoleLines += 1
  if (consoleLines <= BOUNDS.consoleLines) return say({ kind: 'console', level, text: cut(text, BOUNDS.consoleChars) })
  if (consoleLines > BOUNDS.consoleLines + 1) return
  say({ kind: 'console', level: 'warn', text: `more than ${BOUNDS.consoleLines} lines; the rest is dropped` })
}

const writer =
  (level: ConsoleLine['level']) =>
  (...values: readonly unknown[]): void => {
    let text = ''
    for (let at = 0; at < values.length && text.length < BOUNDS.consoleChars; at += 1) {
      text += (at === 0 ? '' : ' ') + shown(values[at])
    }
    writeLine(level, text)
  }

const call = (name: string, argument: unknown): Promise<unknown> =>
  new NativePromise((resolve, reject) => {
    if (evaluation === undefined) throw errorOf('no evaluation is under way')
    if (evaluation.calls.size >= BOUNDS.calls) throw errorOf(`more than ${BOUNDS.calls} host calls in flight`)
    const json = jsonOf(argument, BOUNDS.callChars, 'the argument of a host call')
    lastCallId += 1
    evaluation.calls.set(lastCallId, { resolve, reject })
    holdOrRelease()
    say({ kind: 'call', callId: lastCallId, name, ...(json === undefined ? {} : { json }) })
  })

function open(opening: Opening, wallAt: number): void {
  const world = bindWorld(Buffer.from(opening.seed, 'hex'))
  setWall = world.setWall
  setWall(wallAt)
  stateJson = opening.stateJson
  const host = Object.create(null) as Record<string, unknown>
  for (const name of opening.hostFunctions) host[name] = (argument: unknown) => call(name, argument)
  keep('host', Object.freeze(host))
  const levels = { debug: 'debug', log: 'info', info: 'info', warn: 'warn', error: 'error', trace: 'debug' } as const
  for (const [name, level] of Object.entries(levels)) console[name as 'log'] = writer(level)
  keep('require', createRequire(`${process.cwd()}/evaluation.js`))
  // A turn of the event loop: whatever the host has said is heard.
  keep('safepoint', () => new NativePromise<void>((resolve) => setImmediate(resolve)))
  keep('onNotice', (listener: (notice: GuestNotice) => unknown) => {
    listeners.add(listener)
    holdOrRelease()
    deliver()
    return () => {
      listeners.delete(listener)
      holdOrRelease()
    }
  })
  keep('onCheckpoint', (saver: () => unknown) => {
    save = saver
  })
  keep('onRestore', async (load: (state: unknown) => unknown) => {
    if (stateJson === undefined) return undefined
    const state = parsedOf(stateJson)
    stateJson = undefined
    return await load(state)
  })
  say({ kind: 'opened' })
}

/** What the inspector says of an evaluation that did not even begin. */
interface Refusal {
  readonly exception?: { readonly className?: string; readonly description?: string }
}

/**
 * Begins an evaluation as Node's prompt does: top-level await, declarations that stay and can be made again. Only the
 * inspector can, and it would hand its result over as a description, copied several times, and end the process when the
 * promise that it waits for is collected as garbage (it says so by calling us in the middle of the collection). So its
 * session is closed as soon as the code runs, and the promise, the first that is made, is ours.
 */
function begin(code: string): { readonly promise: Promise<unknown> } | { readonly error: Error } {
  const session = new Session()
  session.connect()
  let refusal: Refusal | undefined
  firstPromise = undefined
  promises.enable()
  session.post(
    'Runtime.evaluate',
    { expression: code, replMode: true, silent: true },
    (_error, answer?: { readonly exceptionDetails?: Refusal }) => {
      refusal ??= answer?.exceptionDetails
    }
  )
  promises.disable()
  session.disconnect()
  const promise = firstPromise as Promise<unknown> | undefined
  firstPromise = undefined
  if (refusal === undefined && promise !== undefined) return { promise }
  const { className = 'Error', description = '' } = refusal?.exception ?? {}
  const error = errorOf(description.replace(/^\w+: /, '').split('\n')[0] ?? '')
  error.name = className
  return { error }
}
let firstPromise: object | undefined
const promises = createHook({
  init(_id, type, _trigger, resource) {
    if (type === 'PROMISE') firstPromise ??= resource
  }
})

function finish(of: Evaluation | undefined, end: (FromGuest & { readonly kind: 'ended' })['end']): void {
  if (of === undefined || evaluation !== of) return
  control.ref()
  evaluation = undefined
  // What was terminated in the middle could not do so itself.
  promises.disable()
  say({ kind: 'ended', end })
}

function run(code: string): void {
  const mine: Evaluation = { calls: new NativeMap() }
  evaluation = mine
  consoleLines = 0
  holdOrRelease()
  deliver()
  const begun = begin(code)
  if ('error' in begun) return finish(mine, { outcome: 'failed', error: described(begun.error) })
  void conclude(mine, begun.promise)
}

async function conclude(of: Evaluation, promise: Promise<unknown>): Promise<void> {
  try {
    const json = jsonOf(await settle(promise), BOUNDS.resultChars, 'the result')
    finish(of, { outcome: 'completed', ...(json === undefined ? {} : { json }) })
  } catch (error) {
    finish(of, { outcome: 'failed', error: described(error) })
  }
}

/** The value of an evaluation's last expression, awaited. V8 hands it out under a name of its own. */
async function settle(promise: Promise<unknown>): Promise<unknown> {
  const result = (await promise) as { readonly '.repl_result'?: unknown } | undefined
  return await result?.['.repl_result']
}

function answered(callId: number, answer: HostAnswer): void {
  const waiting = evaluation?.calls.get(callId)
  if (waiting === undefined) return
  evaluation?.calls.delete(callId)
  if (answer.outcome === 'fulfilled') waiting.resolve(parsedOf(answer.json))
  else waiting.reject(errorOf(answer.message))
  holdOrRelease()
}

/** Notices wait for an evaluation and for somebody who listens. */
function deliver(): void {
  if (evaluation === undefined || listeners.size === 0) return
  for (const notice of notices.splice(0)) {
    for (const listener of listeners) {
      try {
        listener(notice)
      } catch (error) {
        writeLine('error', described(error).message)
      }
    }
  }
}

async function saveState(): Promise<void> {
  try {
    const json = jsonOf(await save?.(), BOUNDS.stateChars, 'the state that onCheckpoint gave')
    say({ kind: 'saved', ...(json === undefined ? {} : { json }) })
  } catch (error) {
    say({ kind: 'not-saved', reason: described(error).message })
  }
}

control.on('message', (message: ToMain) => {
  switch (message.kind) {
    case 'open':
      return open(message.opening, message.wallAt)
    case 'run':
      setWall(message.wallAt)
      return run(message.code)
    case 'answer':
      return answered(message.callId, message.answer)
    case 'tell':
      notices.push(message.notice)
      if (notices.length > BOUNDS.notices) notices.shift()
      return deliver()
    case 'stop':
      control.ref()
      finish(evaluation, { outcome: 'interrupted' })
      return post({ kind: 'stopped', turn: message.turn })
    case 'save':
      return void saveState()
    case 'collect':
      collectGarbage()
      return say({ kind: 'collected' })
  }
})
control.on('error', (error) => {
  throw error
})

process.on('beforeExit', () => {
  control.ref()
  // What it waited for was terminated: the word to stop is on its way.
  if (Atomics.load(stopWord, 0) === 1) return
  const message = 'the evaluation awaits a promise that nothing can settle'
  finish(evaluation, { outcome: 'failed', error: { name: 'Deadlock', message } })
})
// What nobody caught ends the evaluation under way, as it would a program; between two of them it is a line.
process.on('uncaughtException', (error) => {
  if (evaluation === undefined) writeLine('error', described(error).message)
  else finish(evaluation, { outcome: 'failed', error: described(error) })
})
process.on('unhandledRejection', (error) => writeLine('warn', `unhandled rejection: ${described(error).message}`))
say({ kind: 'ready' })
