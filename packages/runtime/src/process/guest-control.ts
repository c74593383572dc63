import { Session } from 'node:inspector'
import { connect, createServer, Socket } from 'node:net'
import { env } from 'node:process'
import { parentPort, workerData } from 'node:worker_threads'
import { systemClock } from '@enablement/core'
import { frameOf, frameReader } from './frames.ts'
import { EGRESS_PORT, FRAME_MAX_BYTES, PIPE_FD, type ToControl, type ToGuest, type ToMain } from './guest-protocol.ts'

/*
 * The thread in the guest's process that holds the pipe to the host: it hears the host while the guest's own code keeps the
 * main thread to itself, and stops that code. When the host has gone, the pipe ends and so does the process.
 */

/** How long the main thread may take to stop by itself before what it does is terminated. */
const PATIENCE_MS = 15

if (parentPort === null) throw new Error('guest-control runs in a worker thread')
const main = parentPort
const pipe = new Socket({ fd: PIPE_FD, readable: true, writable: true })

let session: Session | undefined
const inspector = (): Session => {
  if (session === undefined) {
    session = new Session()
    session.connectToMainThread()
  }
  return session
}

/**
 * While the main thread is being stopped, what the host says waits: V8 terminates the next JavaScript to run when none
 * runs at that moment, which must not be the receiving of a message.
 */
const stopWord = new Int32Array(workerData as SharedArrayBuffer)
let terminating = false
let turn = 0
const waiting: ToGuest[] = []

/** Whether an evaluation is under way. Kept here, for what the main thread does may be terminated at any place. */
let isRunning = false

const isStopping = (): boolean => Atomics.load(stopWord, 0) === 1

function stop(): void {
  Atomics.store(stopWord, 0, 1)
  turn += 1
  main.postMessage({ kind: 'stop', turn } satisfies ToMain)
  systemClock.startTimer(PATIENCE_MS, () => {
    if (!isStopping()) return
    if (!terminating) {
      terminating = true
      inspector().post('Runtime.terminateExecution', () => {
        terminating = false
      })
    }
    stop()
  })
}

function onHost(message: ToGuest): void {
  if (message.kind === 'interrupt') {
    if (!isStopping()) stop()
  } else if (isStopping()) {
    waiting.push(message)
  } else {
    if (message.kind === 'run') isRunning = true
    main.postMessage(message satisfies ToMain)
  }
}

function onMain(message: ToControl): void {
  if (message.kind === 'ended') {
    if (!isRunning) return
    isRunning = false
  }
  if (message.kind !== 'stopped') return void pipe.write(frameOf(message))
  // A termination that is still on its way would hit whatever comes next, and so would another word to stop.
  if (terminating || message.turn !== turn) return
  if (isRunning) onMain({ kind: 'ended', end: { outcome: 'interrupted' } })
  Atomics.store(stopWord, 0, 0)
  for (const held of waiting.splice(0)) onHost(held)
}
main.on('message', onMain)

const read = frameReader(FRAME_MAX_BYTES, (message) => onHost(message as ToGuest))
const end = (): void => void process.kill(process.pid, 'SIGKILL')
pipe.on('data', (piece) => read(piece))
pipe.on('error', end)
pipe.on('close', end)

/** The way out: a socket of the host's, reached through the loopback interface, which all programs can use. */
const egressSocket = env['SANDBOX_EGRESS']
if (egressSocket !== undefined) {
  const forwarder = createServer({ allowHalfOpen: true }, (inner) => {
    const outer = connect({ path: egressSocket, allowHalfOpen: true })
    inner.pipe(outer).pipe(inner)
    inner.on('error', () => outer.destroy())
    outer.on('error', () => inner.destroy())
  })
  forwarder.on('error', () => undefined)
  forwarder.listen(EGRESS_PORT, '127.0.0.1')
}
