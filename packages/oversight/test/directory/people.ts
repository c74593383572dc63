import type { Approver, ApproverDirectory, DirectoryOptions } from '@enablement/oversight'

export const person = (id: string, more: Partial<Approver> = {}): Approver => ({
  id,
  name: id.toUpperCase(),
  addresses: { pager: `${id}@pager.example` },
  ...more
})

export const people = (...ids: readonly string[]): readonly Approver[] => ids.map((id) => person(id))

export const asking = (tenant = 'acme'): DirectoryOptions => ({ tenant, signal: new AbortController().signal })

/** A directory of somebody else's that notes what it is asked, and fails or hangs on demand. */
export interface ScriptedDirectory extends Required<ApproverDirectory> {
  readonly asked: string[]
  mood: 'answers' | 'throws' | 'rejects' | 'hangs'
}

export function scripted(inner: Required<ApproverDirectory>): ScriptedDirectory {
  const react = <T>(question: string, answer: () => Promise<T>): Promise<T> => {
    directory.asked.push(question)
    if (directory.mood === 'throws') throw new Error('thrown at once')
    if (directory.mood === 'rejects') return Promise.reject(new Error('the server is down'))
    return directory.mood === 'hangs' ? new Promise(() => {}) : answer()
  }
  const directory: ScriptedDirectory = {
    asked: [],
    mood: 'answers',
    find: (name, options) => react(`find ${name}`, () => inner.find(name, options)),
    members: (name, options) => react(`members ${name}`, () => inner.members(name, options)),
    onCall: (name, options) => react(`onCall ${name} ${options.at}`, () => inner.onCall(name, options))
  }
  return directory
}
