import { parentPort, workerData } from 'node:worker_threads'
import { blockingFolder } from './blocking-folder.ts'
import { SegmentWriter } from './segment-writer.ts'
import type { FromWriter, ToWriter, WriterData } from './writer-protocol.ts'

const port = parentPort
if (port === null) throw new Error('writer-program runs in a worker thread')
const writer = new SegmentWriter(blockingFolder((workerData as WriterData).folder))

// One at a time: the next command comes when this one has been answered.
port.on('message', (command: ToWriter) => {
  void writer.perform(command).then((end) => {
    if (command.kind === 'seal') return port.postMessage(end satisfies FromWriter)
    const { bytes } = command
    return port.postMessage({ ...end, bytes } satisfies FromWriter, [bytes.buffer as ArrayBuffer])
  })
})
