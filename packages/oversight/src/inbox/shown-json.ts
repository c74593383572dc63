import { canonicalJson, type JsonValue } from '@enablement/core'
import { withSeen } from '../page/html.ts'

/**
 * JSON in which every character is seen, and which still stands for the same value: what hides or reorders text can only
 * be inside of strings, where JSON writes it as `\u202e`. Canonical, or indented for people who edit it.
 */
export function shownJson(value: JsonValue, style: 'canonical' | 'indented' = 'canonical'): string {
  return withSeen(style === 'canonical' ? canonicalJson(value) : JSON.stringify(value, null, 2), escapeSequence)
}

function escapeSequence(character: string): string {
  return Array.from({ length: character.length }, (_, at) => {
    return `\\u${character.charCodeAt(at).toString(16).padStart(4, '0')}`
  }).join('')
}
