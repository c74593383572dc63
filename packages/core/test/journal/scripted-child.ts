import { openJournal } from '@enablement/core/journal'

// Runs a script of steps on a journal and prints what each one came to, as JSON. A step is a group of numbers that are
// appended at once, or `reopen`; each makes a record of 1,000 bytes, from 100 on one of 10. The disk under it fails as JOURNAL_FAULT says (faulty-disk.cjs).
const [folder = '', script = '[]'] = process.argv.slice(2)
const options = { folder, recordMaxBytes: 2_000, segmentMaxBytes: 4_096 }
const codeOf = (error: unknown): string => (error as { readonly code?: string }).code ?? String(error)
const outcomes: unknown[] = []
let journal = await openJournal(options)
for (const step of JSON.parse(script) as ('reopen' | number[])[]) {
  if (step === 'reopen') {
    await journal.close()
    try {
      journal = await openJournal(options)
      outcomes.push('reopened')
    } catch (error) {
      outcomes.push(codeOf(error))
    }
    continue
  }
  const appended = step.map((number) =>
    journal.append(Buffer.from(`${number}:`.padEnd(number < 100 ? 1_000 : 10, 'x'))).then(
      (sequence) => `${sequence}`,
      (error: unknown) => codeOf(error)
    )
  )
  outcomes.push(await Promise.all(appended))
}
const kept: string[] = []
for await (const { sequence, payload } of journal.replay()) {
  kept.push(`${sequence} ${Buffer.from(payload).toString().split(':')[0]}`)
}
const { state } = journal.status()
await journal.close()
console.log(JSON.stringify({ outcomes, kept, state }))
