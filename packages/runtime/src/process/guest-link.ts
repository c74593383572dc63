import type { Duplex, Readable } from 'node:stream'
import type { ConsoleLine } from '../sandbox/sandbox-host.ts'
import { frameOf, frameReader } from './frames.ts'
import { fromGuest } from './from-guest.ts'
import { BOUNDS, FRAME_MAX_BYTES, type FromGuest, type ToGuest } from './guest-protocol.ts'

/** What the guest's last words are kept of: V8 says in some lines why it ends. */
const LAST_WORDS_CHARS = 8_192

/** The host's end of a guest's pipe and of its output. */
export interface GuestLink {
  send(message: ToGuest): void
  /** Lines of an evaluation are counted anew. */
  startCounting(): void
  /** The end of what it wrote to stderr. */
  lastWords(): string
  close(): void
}

/**
 * Listens to a guest and believes it nothing: `onFault` is told of the first thing that no guest of ours would send, and
 * then nothing is heard any more.
 */
export function guestLink(options: {
  readonly pipe: Duplex
  readonly output: Readable
  readonly errors: Readable
  onMessage(message: FromGuest): void
  onLine(line: ConsoleLine): void
  onFault(reason: string): void
  /** Its pipe has ended. */
  onEnd(): void
}): GuestLink {
  const { pipe, output, errors, onMessage, onLine, onFault, onEnd } = options
  let isOpen = true
  let messageLines = 0
  let outputLines = 0
  let lastWords = ''

  const fault = (reason: string): void => {
    if (!isOpen) return
    close()
    onFault(reason)
  }
  const close = (): void => {
    isOpen = false
    for (const stream of [pipe, output, errors]) stream.destroy()
  }

  const read = frameReader(FRAME_MAX_BYTES, (received) => {
    if (!isOpen) return
    const message = fromGuest(received)
    if (message === undefined) return fault('it sent a message that is none of its protocol')
    if (message.kind !== 'console') return onMessage(message)
    messageLines += 1
    // One more says that the rest was dropped.
    if (messageLines > BOUNDS.consoleLines + 1) return fault('it sent more console lines than it may')
    onLine({ level: message.level, text: message.text })
  })
  pipe.on('data', (piece: Buffer) => {
    try {
      if (isOpen) read(piece)
    } catch (error) {
      fault(error instanceof SyntaxError ? 'it sent a message that is no JSON' : (error as Error).message)
    }
  })
  pipe.on('end', () => {
    if (isOpen) onEnd()
  })
  pipe.on('error', () => undefined)

  /** What programs write is passed on line by line while there is room in the count, and dropped then. */
  const passOn = (stream: Readable, level: ConsoleLine['level']): void => {
    let rest = ''
    stream.setEncoding('utf8')
    stream.on('error', () => undefined)
    stream.on('data', (text: string) => {
      if (level === 'error') lastWords = (lastWords + text).slice(-LAST_WORDS_CHARS)
      const lines = (rest + text).split('\n')
      rest = (lines.pop() ?? '').slice(0, BOUNDS.consoleChars)
      for (const line of lines) {
        outputLines += 1
        if (outputLines > BOUNDS.consoleLines || !isOpen) return
        onLine({ level, text: line.slice(0, BOUNDS.consoleChars) })
      }
    })
  }
  passOn(output, 'info')
  passOn(errors, 'error')

  return {
    send(message) {
      if (isOpen) pipe.write(frameOf(message))
    },
    startCounting() {
      messageLines = 0
      outputLines = 0
    },
    lastWords: () => lastWords,
    close
  }
}
