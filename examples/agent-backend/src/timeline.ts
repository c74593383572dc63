import logUpdate from 'log-update'
import colors from 'picocolors'

type Tone = 'plain' | 'good' | 'warning' | 'bad'

/** What the user sees while it happens: a line for each event, and one bar for what is under way. */
export interface Timeline {
  say(who: string, text: string, tone?: Tone): void
  /** `done` of `total`; on a terminal the bar moves, elsewhere each quarter is a line. */
  progress(label: string, done: number, total: number): void
  close(): void
}

const paint: Record<Tone, (text: string) => string> = {
  plain: (text) => text,
  good: colors.green,
  warning: colors.yellow,
  bad: colors.red
}

const BAR_CELLS = 28

export function createTimeline(out: NodeJS.WriteStream): Timeline {
  const startedAt = performance.now()
  let quarter = 0

  const write = (line: string): void => {
    if (out.isTTY) logUpdate.clear()
    out.write(`${line}\n`)
  }
  return {
    say(who, text, tone = 'plain') {
      const elapsed = ((performance.now() - startedAt) / 1_000).toFixed(2).padStart(6)
      write(`${colors.dim(`${elapsed} s`)}  ${colors.cyan(who.padEnd(10))} ${paint[tone](text)}`)
    },
    progress(label, done, total) {
      if (out.isTTY) {
        const filled = Math.round((done / total) * BAR_CELLS)
        const bar = '█'.repeat(filled) + colors.dim('░'.repeat(BAR_CELLS - filled))
        logUpdate(`${' '.repeat(10)}${colors.dim(label.padEnd(10))} ${bar} ${done.toLocaleString('en')} words`)
        return
      }
      const reached = Math.floor((done / total) * 4)
      if (reached <= quarter) return
      quarter = reached
      this.say(label, `${done.toLocaleString('en')} of ${total.toLocaleString('en')} words read`)
    },
    close() {
      if (out.isTTY) logUpdate.clear()
    }
  }
}
