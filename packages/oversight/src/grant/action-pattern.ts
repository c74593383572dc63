import { z } from 'zod'

/** Dotted lower-case words as in an action's name, and at the end `.*` for every action below. Never `*` alone. */
const PATTERN = /^[a-z0-9]+(?:[-_][a-z0-9]+)*(?:\.[a-z0-9]+(?:[-_][a-z0-9]+)*)*(?:\.\*)?$/

/** What a grant says about actions: a name, or everything below one. */
export const actionPatternSchema = z
  .string()
  .max(128)
  .regex(PATTERN, 'must be the name of an action, or what is below one, such as payments.*')

/**
 * The patterns that cover an action, the narrowest first: `payments.refund` is covered by itself and by `payments.*`.
 * These are what a store has to look for; nothing else is a candidate.
 */
export function patternsOf(action: string): readonly string[] {
  const words = action.split('.')
  const above = words.slice(1).map((_, index) => `${words.slice(0, words.length - 1 - index).join('.')}.*`)
  return [action, ...above]
}
