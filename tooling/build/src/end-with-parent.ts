import process from 'node:process'

/** Ends this process when the one that started it is gone, and closes what it has when it is told to end. */
export function endWithParent(close: () => Promise<unknown>): void {
  process.stdin.on('end', () => process.exit(1)).resume()
  process.on('SIGTERM', () => void close().then(() => process.exit(0)))
}
