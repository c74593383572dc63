import { CoreError } from '../failure/core-error.ts'

/** One clause of a port's contract, as a test of anything that claims to keep it. Asserts with `node:assert/strict`. */
export interface ConformanceCase<Create, Need extends string = string> {
  readonly name: string
  /** What the subject must support for this clause to apply. */
  readonly needs?: readonly Need[]
  /** `create` makes a fresh subject, as often as the case wants one. */
  run(create: Create): Promise<void>
}

/** The exam of a port. */
export interface ConformanceKit<Create, Need extends string = string> {
  /** The port's name. */
  readonly name: string
  /** Every need that a case may have. */
  readonly needs: readonly Need[]
  readonly cases: readonly ConformanceCase<Create, Need>[]
}

/** A test to hand to a framework: `for (const { name, run } of exam) it(name, run)`. */
export interface ConformanceTest {
  readonly name: string
  run(): Promise<void>
}

/** A case that the subject's manifest excuses it from, and the needs that it does not meet. */
export interface ConformanceOmission {
  readonly name: string
  readonly unmet: readonly string[]
}

/** The tests to run, in the kit's order, and the cases left out: a suite asserts on them, so that none goes unnoticed. */
export interface ConformanceExam extends Iterable<ConformanceTest> {
  readonly tests: readonly ConformanceTest[]
  readonly omitted: readonly ConformanceOmission[]
}

/**
 * A port's exam for one subject. `supports` answers every need of the kit with yes or no: a missing or unknown answer,
 * a case whose need the kit does not list, or two cases of one name throw, because each would silently test less.
 */
export function conformanceTests<Create, Need extends string>(
  kit: ConformanceKit<Create, Need>,
  subject: { readonly create: Create; readonly supports: { readonly [need in Need]: boolean } }
): ConformanceExam {
  const { create, supports } = subject
  const answered = new Map<string, unknown>(Object.entries(supports))
  for (const need of kit.needs) {
    if (typeof answered.get(need) !== 'boolean') throw misuse(kit.name, `supports.${need} must be true or false`)
  }
  for (const need of answered.keys()) {
    if (!kit.needs.includes(need as Need)) throw misuse(kit.name, `supports.${need} is not a need of this kit`)
  }
  const names = new Set<string>()
  const tests: ConformanceTest[] = []
  const omitted: ConformanceOmission[] = []
  for (const testCase of kit.cases) {
    const { name, needs = [] } = testCase
    if (names.has(name)) throw misuse(kit.name, `two cases are named "${name}"`)
    names.add(name)
    const unknown = needs.find((need) => !kit.needs.includes(need))
    if (unknown !== undefined) throw misuse(kit.name, `"${name}" needs ${unknown}, which the kit does not list`)
    const unmet = needs.filter((need) => answered.get(need) === false)
    if (unmet.length > 0) omitted.push({ name, unmet })
    else tests.push({ name, run: () => testCase.run(create) })
  }
  return { tests, omitted, [Symbol.iterator]: () => tests[Symbol.iterator]() }
}

function misuse(kit: string, message: string): CoreError<'INVALID_OPTIONS'> {
  return new CoreError('INVALID_OPTIONS', `the conformance kit of ${kit} cannot run: ${message}`, {
    subject: `conformanceTests(${kit})`,
    issues: [{ path: '', message }]
  })
}
