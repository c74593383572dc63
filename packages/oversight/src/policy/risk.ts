/** How much harm an action can do. */
export type Risk = 'low' | 'medium' | 'high' | 'critical'

/** From least to most. */
export const RISKS = ['low', 'medium', 'high', 'critical'] as const satisfies readonly Risk[]

/** Whether `risk` is at least as much as `bound`. */
export function isAtLeast(risk: Risk, bound: Risk): boolean {
  return RISKS.indexOf(risk) >= RISKS.indexOf(bound)
}

export function theGreater(one: Risk, other: Risk): Risk {
  return isAtLeast(one, other) ? one : other
}
