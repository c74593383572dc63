import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { bundledProgram } from '@enablement/build/program'
import { expect } from 'vitest'

interface Sharer {
  readonly process: ChildProcess
  /** Gives the answer to a line; lines of events are not answers. */
  ask(line: 'admit' | 'state'): Promise<string>
  tell(line: 'fail' | 'succeed'): void
}

/** Starts processes that share the breaker `name`, plays a break and the death of the one that probes, and ends them. */
export async function expectProcessesToAgree(kind: 'sqlite' | 'redis', place: string, name: string): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'enablement-sharing-'))
  const started: ChildProcess[] = []
  try {
    const child = await bundledProgram(join(import.meta.dirname, 'sharing-child.ts'), folder)
    const sharers = await Promise.all([1, 2, 3].map(() => start([child, kind, place, name], started)))
    sharers[0]?.tell('fail')
    await until(async () =>
      (await Promise.all(sharers.map((one) => one.ask('state')))).every((state) => !isClosed(state))
    )

    const prober = await proberOf(sharers)
    const others = sharers.filter((one) => one !== prober)
    expect(await Promise.all(others.map((one) => one.ask('admit')))).toEqual(['rejected probing', 'rejected probing'])
    prober.process.kill('SIGKILL')

    const next = await proberOf(others)
    next.tell('succeed')
    await until(async () => (await Promise.all(others.map((one) => one.ask('state')))).every(isClosed))
  } finally {
    for (const one of started) one.kill('SIGKILL')
    rmSync(folder, { recursive: true })
  }
}

const isClosed = (state: string): boolean => state === 'state closed'

/** Asks all at once, again and again, until one may probe: never two. */
async function proberOf(sharers: readonly Sharer[]): Promise<Sharer> {
  let prober: Sharer | undefined
  await until(async () => {
    const answers = await Promise.all(sharers.map((one) => one.ask('admit')))
    const probing = sharers.filter((_, at) => answers[at] === 'permitted probe')
    expect(answers).not.toContain('permitted call')
    expect(probing.length).toBeLessThanOrEqual(1)
    prober = probing[0]
    return prober !== undefined
  })
  return prober as Sharer
}

async function start(program: readonly string[], started: ChildProcess[]): Promise<Sharer> {
  const sharer = spawn(process.execPath, program, { stdio: ['pipe', 'pipe', 'inherit'] })
  started.push(sharer)
  const waiting: ((line: string) => void)[] = []
  const ready = Promise.withResolvers<void>()
  createInterface({ input: sharer.stdout as NodeJS.ReadableStream }).on('line', (line) => {
    if (line === 'ready') ready.resolve()
    else if (/^(state|permitted|rejected) /.test(line)) waiting.shift()?.(line)
    else if (line.startsWith('alone')) ready.reject(new Error(line))
  })
  sharer.on('exit', (code) => ready.reject(new Error(`it ended with ${code}`)))
  await ready.promise
  return {
    process: sharer,
    tell: (line) => void sharer.stdin?.write(`${line}\n`),
    ask: (line) =>
      new Promise((resolve) => {
        waiting.push(resolve)
        sharer.stdin?.write(`${line}\n`)
      })
  }
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 20))
}
