/**
 * Pending changesets can be released: each parses, names packages of this workspace and says something to their users.
 *
 *   node tooling/checks/src/changesets.ts
 */
import { readChangesets } from '@changesets/read'
import { type Fault, type Report, runAsProgram } from './gate.ts'
import { packagesIn } from './workspace.ts'

export async function checkChangesets(root: string): Promise<Report> {
  const known = new Set(packagesIn(root).map(({ name }) => name))
  let pending: Awaited<ReturnType<typeof readChangesets>>
  try {
    pending = await readChangesets(root)
  } catch (error) {
    // The reader stops at the first malformed one, and its message quotes it.
    return { faults: [{ file: '.changeset', message: (error as Error).message }], summary: 'one unreadable' }
  }
  const faults = pending.flatMap(({ id, summary, releases }): Fault[] => {
    const file = `.changeset/${id}.md`
    const unknown = releases.filter(({ name }) => !known.has(name))
    return [
      ...unknown.map(({ name }) => ({ file, message: `there is no package ${name}` })),
      ...(releases.length === 0 ? [{ file, message: 'it releases nothing' }] : []),
      ...(summary.trim() === '' ? [{ file, message: 'it says nothing' }] : [])
    ]
  })
  return { faults, summary: `${pending.length} pending` }
}

await runAsProgram(import.meta.url, checkChangesets)
