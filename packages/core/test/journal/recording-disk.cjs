// Loaded before everything else, in every thread, by NODE_OPTIONS: writes down what the journal asks of the disk, one
// JSON line each in the order of the calls, in the file that JOURNAL_TRACE names. What changes the disk is written down
// before it is done, a sync after it has ended: whatever a sync vouches for stands before it.
const fs = require('node:fs')
const path = require('node:path')
const { syncBuiltinESMExports } = require('node:module')

const { openSync, writeSync, closeSync } = fs
const trace = openSync(process.env.JOURNAL_TRACE, 'a')
const note = (entry) => writeSync(trace, `${JSON.stringify(entry)}\n`)
globalThis.noteInTrace = note

const names = new Map()
const nameOf = (file) => path.basename(names.get(file) ?? '')
const isFolder = (file) => fs.fstatSync(file).isDirectory()

fs.openSync = (name, flags, ...rest) => {
  if (flags === 'w') note({ op: 'create', name: path.basename(name) })
  const file = openSync(name, flags, ...rest)
  names.set(file, name)
  return file
}
fs.writeSync = (file, bytes, offset, length, position) => {
  const hex = Buffer.from(bytes.buffer, bytes.byteOffset + offset, length).toString('hex')
  note({ op: 'write', name: nameOf(file), at: position, hex })
  return writeSync(file, bytes, offset, length, position)
}
for (const call of ['fsyncSync', 'fdatasyncSync']) {
  const real = fs[call]
  fs[call] = (file) => {
    real(file)
    note(isFolder(file) ? { op: 'sync-folder' } : { op: 'sync', name: nameOf(file) })
  }
}
const { renameSync } = fs
fs.renameSync = (from, to) => {
  note({ op: 'rename', from: path.basename(from), to: path.basename(to) })
  for (const [file, name] of names) if (name === from) names.set(file, to)
  renameSync(from, to)
}
fs.closeSync = (file) => {
  names.delete(file)
  closeSync(file)
}
const { open, unlink } = fs.promises
fs.promises.unlink = (name) => {
  note({ op: 'unlink', name: path.basename(name) })
  return unlink(name)
}
fs.promises.open = async (name, ...rest) => {
  const handle = await open(name, ...rest)
  const sync = handle.sync.bind(handle)
  handle.sync = async () => {
    await sync()
    note((await handle.stat()).isDirectory() ? { op: 'sync-folder' } : { op: 'sync', name: path.basename(name) })
  }
  return handle
}
syncBuiltinESMExports()
