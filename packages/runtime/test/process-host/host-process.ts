import process from 'node:process'
import { mebibytes } from '@enablement/runtime'
import { processHost } from '@enablement/runtime/process'

/* A host that opens a sandbox, has it start what does not want to end, says so on stdout, and waits to be killed. */
const [isolation = 'none', bwrap = '', stateFolder = '', mark = ''] = process.argv.slice(2)
const host = processHost({
  stateFolder,
  ...(isolation.startsWith('none') ? { isolation: 'none' } : { bwrap }),
  ...(isolation.endsWith('groups') ? { cgroup: 'none' } : {})
})
const memoryLimitBytes = mebibytes(128)
const sandbox = await host.create(
  {
    sandboxId: 'left',
    incarnation: 1,
    memoryLimitBytes,
    criticalAtBytes: memoryLimitBytes,
    criticalClearBytes: memoryLimitBytes,
    hostFunctions: [],
    seed: new Uint8Array(16),
    now: () => 0
  },
  { onCall: () => undefined, onConsole: () => undefined, onPressure: () => undefined }
)
const end = await sandbox.run(`
  const { spawn } = require('node:child_process')
  for (let i = 0; i < 3; i += 1) {
    const options = { detached: i > 0, stdio: 'ignore' }
    spawn('/bin/sh', ['-c', 'trap "" TERM HUP INT; while :; do sleep 1; done # ${mark}'], options).unref()
  }
`)
process.stdout.write(end.outcome === 'completed' ? 'ready\n' : JSON.stringify(end))
setInterval(() => {}, 60_000)
