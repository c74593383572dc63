// Loaded before everything else, in every thread, by NODE_OPTIONS: makes one call to the file system fail for real as far
// as the journal can tell. JOURNAL_FAULT is { call, at, code }: the at-th call of that name in a thread, counted from 1,
// throws `code`.
const fs = require('node:fs')
const { syncBuiltinESMExports } = require('node:module')

const { call, at, code } = JSON.parse(process.env.JOURNAL_FAULT)
const real = fs[call]
let count = 0
fs[call] = (...args) => {
  count += 1
  if (count !== at) return real(...args)
  throw Object.assign(new Error(`${code}: made to fail`), { code, syscall: call.replace('Sync', '') })
}
syncBuiltinESMExports()
