import type { SqlStatement } from './sql-database.ts'
import { misuse } from './unit.ts'

/** A statement's text, read once. */
export interface StatementText {
  /** How many values it takes: the `?` outside of strings, names and comments. */
  readonly placeholders: number
  /** The text with `$1`, `$2` … for Postgres. */
  readonly numbered: string
  /** The first word, in lower case. */
  readonly verb: string
  /** Whether its rows are those that it changed, rather than those that it read. */
  readonly returning: boolean
  /** A placeholder of another kind, which the stores would read each in its own way. */
  readonly foreign: string | undefined
}

/**
 * What may hold a `?` that takes no value: strings, quoted names, comments, and Postgres' dollar quotes. Unclosed ones
 * run to the end of the text; the store then reports the syntax error.
 */
const OPAQUE = /'[^']*'?|"[^"]*"?|--[^\n]*|\/\*[\s\S]*?(?:\*\/|$)|\$([A-Za-z_]\w*)?\$[\s\S]*?(?:\$\1\$|$)/y
const WORD = /[A-Za-z_]\w*/y
/** `?1`, `$1`, `$name`, `@name` and `:name`, but not the cast `::type`. */
const FOREIGN = /\?\d+|[$@]\w+|(?<!:):[A-Za-z_]\w*/y

/** Finds the placeholders of `text` without being fooled by those that are quoted or commented out. */
export function readText(text: string): StatementText {
  let numbered = ''
  let placeholders = 0
  let verb = ''
  let returning = false
  let foreign: string | undefined
  for (let at = 0; at < text.length; ) {
    const opaque = match(OPAQUE, text, at)
    const word = opaque === undefined ? match(WORD, text, at)?.toLowerCase() : undefined
    const other = opaque ?? word ?? match(FOREIGN, text, at)
    if (word !== undefined) {
      if (verb === '') verb = word
      if (word === 'returning') returning = true
    } else if (opaque === undefined && other !== undefined) {
      foreign ??= other
    }
    const length = other?.length ?? 1
    const taken = text.slice(at, at + length)
    if (taken === '?') placeholders += 1
    numbered += taken === '?' ? `$${placeholders}` : taken
    at += length
  }
  return { placeholders, numbered, verb, returning, foreign }
}

function match(pattern: RegExp, text: string, at: number): string | undefined {
  pattern.lastIndex = at
  return pattern.exec(text)?.[0]
}

/** Begin and end a transaction or a part of one: in a unit they would commit other units' work, or half of its own. */
const TRANSACTION_VERBS = new Set(['begin', 'start', 'commit', 'end', 'abort', 'rollback', 'savepoint', 'release'])

/** Refuses a text that no unit may run, and one whose placeholders are not for its values: SQLite would make them NULL. */
export function checkText(store: string, { text, values }: SqlStatement, read: StatementText): void {
  const { placeholders, foreign, verb } = read
  if (verb === '') throw misuse(store, text, 'a text without a statement')
  if (TRANSACTION_VERBS.has(verb)) throw misuse(store, text, `${verb} inside a unit, which is one transaction`)
  if (foreign !== undefined)
    throw misuse(store, text, `the placeholder ${foreign}, where only ? works in every dialect`)
  if (values.length !== placeholders) {
    throw misuse(store, text, `${placeholders} placeholders and ${values.length} values`)
  }
}

/** What is known of texts, for as long as there is room: a caller that builds a new text each time must not fill memory. */
export class TextCache<Known> {
  readonly #known = new Map<string, Known>()
  readonly #size: number
  readonly #learn: (text: string) => Known

  constructor(size: number, learn: (text: string) => Known) {
    this.#size = size
    this.#learn = learn
  }

  /** What is known of `text`, learnt now if need be. The text that was learnt first makes room. */
  get(text: string): Known {
    const before = this.#known.get(text)
    if (before !== undefined) return before
    const known = this.#learn(text)
    if (this.#known.size >= this.#size) {
      const [first] = this.#known.keys()
      this.#known.delete(first as string)
    }
    this.#known.set(text, known)
    return known
  }
}
