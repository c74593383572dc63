import type { Clock } from '@enablement/core'
import type { LinkSeals } from './link-token.ts'

/** Proof that a form was on the page that a link opened, a short while ago. */
export interface FormSeals {
  issue(purpose: string): string
  isGood(seal: string, purpose: string): boolean
}

/** How long a page may be open before its form is no good: long enough to ask somebody, not to be found again. */
const FORM_MS = 3_600_000

/** Servers whose clocks differ take each other's forms. */
const CLOCK_SKEW_MS = 60_000

export function createFormSeals(seals: LinkSeals, clock: Clock): FormSeals {
  return {
    issue(purpose) {
      const issued = clock.now().toString(36)
      return `${issued}.${seals.mark('form', `${issued} ${purpose}`)}`
    },
    isGood(seal, purpose) {
      const [, issued = '', mark = ''] = /^([0-9a-z]{1,11})\.([A-Za-z0-9_-]{1,32}\.[A-Za-z0-9_-]{43})$/.exec(seal) ?? []
      if (issued === '' || !seals.bears('form', `${issued} ${purpose}`, mark)) return false
      const ageMs = clock.now() - Number.parseInt(issued, 36)
      return ageMs >= -CLOCK_SKEW_MS && ageMs < FORM_MS
    }
  }
}
