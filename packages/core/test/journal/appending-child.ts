import process from 'node:process'
import { openJournal } from '@enablement/core/journal'

// Appends numbered payloads from 16 callers and writes down sequence and number of each one as soon as it is
// acknowledged, until it is killed or refused; then it says with which codes. A caller appends again once what it wrote
// down is in the pipe, so that a kill leaves each with one record that nobody heard of, at most.
const [folder = '', firstText = '0', sizeText = '1'] = process.argv.slice(2)
const journal = await openJournal({ folder, recordMaxBytes: 8_000, segmentMaxBytes: 65_536 })
let next = Number(firstText)
const codes = new Set<string>()
const caller = async (): Promise<void> => {
  while (codes.size === 0) {
    const number = next++
    try {
      const sequence = await journal.append(Buffer.from(`${number}:`.padEnd(Number(sizeText), 'x')))
      await new Promise((resolve) => process.stdout.write(`${sequence} ${number}\n`, resolve))
    } catch (error) {
      codes.add((error as { code: string }).code)
    }
  }
}
await Promise.all(Array.from({ length: 16 }, caller))
// Ends without closing, as a process does that gives up, once that has been read.
process.stdout.write(`${[...codes].join()}\n`, () => process.exit(0))
