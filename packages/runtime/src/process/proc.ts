import { readdirSync, readFileSync } from 'node:fs'
import process from 'node:process'

/** A process for as long as the machine is up: ids are used again, soon where there are only 32,768 of them. */
export interface ProcessIdentity {
  readonly pid: number
  /** When it started, in ticks since boot: field 22 of its `stat`. */
  readonly startTime: string
  readonly bootId: string
}

interface Stat {
  readonly parent: number
  readonly startTime: string
  readonly state: string
}

const attempt = <T>(work: () => T): T | undefined => {
  try {
    return work()
  } catch {
    return undefined
  }
}

const read = (path: string): string | undefined => attempt(() => readFileSync(path, 'utf8'))

/** Fields of a `stat`. The program's own name comes second and may hold anything, parentheses and spaces included. */
function parseStat(text: string): Stat | undefined {
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  const [state, parent] = fields
  const startTime = fields[19]
  if (state === undefined || parent === undefined || startTime === undefined || !/^\d+$/.test(startTime))
    return undefined
  return { state, parent: Number(parent), startTime }
}

const statOf = (pid: number): Stat | undefined => {
  const text = read(`/proc/${pid}/stat`)
  return text === undefined ? undefined : parseStat(text)
}

const bootId = (): string => read('/proc/sys/kernel/random/boot_id')?.trim() ?? ''

/** Who has this id now. Undefined when nobody has, or it has ended and only its parent has not noticed. */
export function identify(pid: number): ProcessIdentity | undefined {
  const stat = statOf(pid)
  if (stat === undefined || stat.state === 'Z') return undefined
  return { pid, startTime: stat.startTime, bootId: bootId() }
}

/** Whether this very process is still there. */
export function isRunning(identity: ProcessIdentity): boolean {
  const now = identify(identity.pid)
  return now !== undefined && now.startTime === identity.startTime && now.bootId === identity.bootId
}

/** Sends a signal to this very process, if it is still there. */
export function signal(identity: ProcessIdentity, name: NodeJS.Signals): boolean {
  return isRunning(identity) && attempt(() => process.kill(identity.pid, name)) === true
}

const allPids = (): number[] =>
  (attempt(() => readdirSync('/proc')) ?? []).filter((name) => /^\d+$/.test(name)).map(Number)

/** All that descend from a process, itself included, parents first. */
export function familyOf(pid: number): readonly number[] {
  // Of 0 and 1 everything descends.
  if (pid <= 1) return []
  const children = new Map<number, number[]>()
  for (const one of allPids()) {
    const stat = statOf(one)
    if (stat === undefined || stat.state === 'Z') continue
    const siblings = children.get(stat.parent)
    if (siblings === undefined) children.set(stat.parent, [one])
    else siblings.push(one)
  }
  const family = identify(pid) === undefined ? [] : [pid]
  const queue = [pid]
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
    const born = children.get(next) ?? []
    family.push(...born)
    queue.push(...born)
  }
  return family
}

/** The children of a process now. */
export function childrenOf(pid: number): readonly number[] {
  const listed = read(`/proc/${pid}/task/${pid}/children`)
  if (listed !== undefined) return listed.split(' ').filter(Boolean).map(Number)
  return allPids().filter((one) => statOf(one)?.parent === pid)
}

/** Processes whose environment holds this entry, `NAME=value`. Those of other users cannot be seen. */
export function markedWith(entry: string): readonly number[] {
  return allPids().filter((pid) => read(`/proc/${pid}/environ`)?.split('\0').includes(entry) === true)
}

/** Memory that a process has for itself: anonymous and shared-memory pages in RAM, not the files that it maps. */
export function memoryOf(pid: number): number {
  const status = read(`/proc/${pid}/status`) ?? ''
  let kibibytes = 0
  for (const name of ['RssAnon', 'RssShmem', 'VmSwap']) {
    kibibytes += Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1] ?? 0)
  }
  return kibibytes * 1_024
}
