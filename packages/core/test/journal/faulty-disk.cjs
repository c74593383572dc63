// Loaded before everything else, in every thread, by NODE_OPTIONS: makes calls to the file system fail for real as far as
// the journal can tell. JOURNAL_FAULTS is a list of { call, at, code }: the at-th call of that name in a thread, counted
// from 1, throws `code` after it had half its effect, and with `times` so do the next ones. { call, shortBytes } lets
// writes take only so many bytes.
const fs = require('node:fs')
const { syncBuiltinESMExports } = require('node:module')

for (const { call, at, code, times = 1, shortBytes } of JSON.parse(process.env.JOURNAL_FAULTS ?? '[]')) {
  const real = fs[call]
  let count = 0
  fs[call] = (...args) => {
    count += 1
    if (shortBytes !== undefined) {
      const [file, bytes, offset, length, position] = args
      return real(file, bytes, offset, Math.min(length, shortBytes), position)
    }
    if (count < at || count >= at + times) return real(...args)
    if (call === 'writeSync') {
      const [file, bytes, offset, length, position] = args
      real(file, bytes, offset, length >> 1, position)
    }
    throw Object.assign(new Error(`${code}: made to fail`), { code, syscall: call.replace('Sync', '') })
  }
}
syncBuiltinESMExports()
