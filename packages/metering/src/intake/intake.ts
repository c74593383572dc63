import { isSuiteError } from '@enablement/core'
import type { DedupClaim } from '../dedup/dedup-store.ts'
import type { DedupVerdict } from '../dedup/repeat.ts'
import type { CheckedUsage } from '../event/parse-usage-event.ts'
import type { BatchOutcome, HeldReason, RecordOutcome } from '../event/record-outcome.ts'
import { isPassing, MeteringError, storeFailure } from '../metering-error.ts'
import { ENTRIES_MAX, type UsageStore } from '../usage/usage-store.ts'
import type { ClaimAnswer, Claims } from './claims.ts'
import type { IntakeEvent } from './intake-event.ts'
import type { JudgedUsage, UsageJudge } from './judgement.ts'
import { encodeHeld, HELD_TYPE, type HeldUsage, type UsageJournal } from './usage-journal.ts'

/** What a failed store does to an event. */
export interface IntakePosture {
  readonly onDedupUnknown: 'journal' | 'accept' | 'reject'
  readonly onStoreFailure: 'throw' | 'journal'
}

/** Events on their way through dedup into the ledger, or into the journal. */
export interface Intake {
  /** An outcome for each in order. Throws the signal's reason, and what is no failure of a store. */
  take(held: readonly HeldUsage[], signal: AbortSignal | undefined): Promise<readonly BatchOutcome[]>
  /** Settles events of the journal, all of them, or throws: `STORE_FAILED` when a store does not answer. */
  settle(held: readonly HeldUsage[], signal: AbortSignal): Promise<void>
}

/** An event in the pipeline. */
interface Item extends JudgedUsage {
  readonly held: HeldUsage
  readonly claim: DedupClaim
  /** Whether its identity was free, and is ours until we settle or release it. */
  claimed: boolean
  outcome?: BatchOutcome
}

export function createIntake(options: {
  readonly store: Pick<UsageStore, 'record'>
  readonly judge: UsageJudge
  readonly claims: Claims | undefined
  readonly journal: UsageJournal | undefined
  readonly posture: IntakePosture
  readonly now: () => number
  readonly noteDrift: (usage: CheckedUsage, driftMs: number, receivedAt: number) => void
  readonly report: (event: IntakeEvent) => void
}): Intake {
  const { store, judge, claims, journal, posture, now, noteDrift, report } = options

  const itemOf = (held: HeldUsage, at: number): Item => {
    const { usage, receivedAt } = held
    const judged = judge.judge(usage, { receivedAt, now: at })
    const { tenant, subscription, transactionId } = usage
    const claim = { tenant, subscription, transactionId, payloadHash: judged.entry.payloadHash, receivedAt }
    return { ...judged, held, claim, claimed: false }
  }

  const hold = async (item: Item, reason: HeldReason): Promise<BatchOutcome> => {
    const { tenant, subscription, transactionId } = item.entry
    try {
      await (journal as UsageJournal).append(encodeHeld(item.held, reason), { type: HELD_TYPE })
    } catch (error) {
      if (!isSuiteError(error)) throw error
      const message = `neither the store nor the journal took the event: ${error.message}`
      const detail = { operation: 'append', reason: error.code }
      const failure = new MeteringError('JOURNAL_FAILED', message, detail, { cause: error })
      report({ type: 'usage.journal-failed', error: failure })
      return { outcome: 'unknown', error: failure }
    }
    report({ type: 'usage.held', tenant, subscription, transactionId, reason })
    return { outcome: 'held', reason }
  }

  const repeated = (item: Item, outcome: 'duplicate' | 'conflict', firstReceivedAt: number): RecordOutcome => {
    const { tenant, subscription, transactionId } = item.entry
    const type = outcome === 'duplicate' ? 'usage.duplicated' : 'usage.conflicted'
    report({ type, tenant, subscription, transactionId, firstReceivedAt })
    return { outcome, firstReceivedAt }
  }

  const stored = ({ entry, driftMs, late }: Item): RecordOutcome => {
    const { tenant, subscription, transactionId, metric, quantity, lateness, setAside } = entry
    if (setAside === undefined) report({ type: 'usage.recorded', tenant, subscription, metric, quantity, lateness })
    else report({ type: 'usage.set-aside', tenant, subscription, transactionId, reason: setAside, driftMs })
    if (setAside === 'quarantine') return { outcome: 'quarantined', driftMs }
    if (late === undefined) return { outcome: 'recorded', at: entry.at, driftMs }
    const resolution = setAside === 'review' ? 'manual-review' : lateness === 'grace' ? 'original-period' : 'adjustment'
    return { outcome: 'late', resolution, lateMs: late.lateMs, period: late.period }
  }

  /** What dedup says of an item; undefined where the ledger has to say. */
  const screened = async (item: Item, answer: ClaimAnswer, inJournal: boolean): Promise<BatchOutcome | undefined> => {
    switch (answer.outcome) {
      case 'new':
        item.claimed = true
        return undefined
      case 'pending':
        return undefined
      case 'duplicate':
        return repeated(item, 'duplicate', answer.firstReceivedAt)
      case 'conflict':
        return answer.settled ? repeated(item, 'conflict', answer.firstReceivedAt) : undefined
      case 'unknown':
        if (posture.onDedupUnknown === 'accept') return undefined
        // It stays in the journal that it is in.
        if (inJournal) throw answer.error
        if (posture.onDedupUnknown === 'journal') return hold(item, 'dedup-unknown')
        report({
          type: 'usage.refused',
          tenant: item.entry.tenant,
          subscription: item.entry.subscription,
          transactionId: item.entry.transactionId
        })
        return { outcome: 'refused', reason: 'dedup-unknown', error: answer.error }
    }
  }

  /** Asks dedup, if there is one, and gives those that the ledger has to be asked about. */
  const screen = async (
    items: readonly Item[],
    inJournal: boolean,
    signal: AbortSignal | undefined
  ): Promise<readonly Item[]> => {
    if (claims === undefined) return items
    const answers = await claims.claim(
      items.map(({ claim }) => claim),
      signal
    )
    const asked: Item[] = []
    for (let from = 0; from < items.length; from += ENTRIES_MAX) {
      const part = items.slice(from, from + ENTRIES_MAX)
      // At once: those that go into the journal share its syncs.
      const outcomes = await Promise.all(
        part.map((item, at) => screened(item, answers[from + at] as ClaimAnswer, inJournal))
      )
      for (const [at, item] of part.entries()) {
        const outcome = outcomes[at]
        if (outcome !== undefined) item.outcome = outcome
        else if (answers[from + at]?.outcome !== 'unknown') asked.push(item)
        else asked.push({ ...item, entry: { ...item.entry, unconfirmed: true } })
      }
    }
    return asked
  }

  /** The ledger has answered: so it says to dedup, lest a repetition be asked of it again. */
  const settleClaims = async (items: readonly Item[], verdicts: readonly DedupVerdict[]): Promise<void> => {
    if (claims === undefined) return
    const known: DedupClaim[] = []
    const wrong: DedupClaim[] = []
    for (const [at, { claim, claimed }] of items.entries()) {
      const verdict = verdicts[at] as DedupVerdict
      if (verdict.outcome === 'new') known.push(claim)
      else if (verdict.outcome === 'duplicate') known.push({ ...claim, receivedAt: verdict.firstReceivedAt })
      // Claimed with a payload that is not the one that was stored.
      else if (claimed) wrong.push(claim)
    }
    claims.settle(known)
    await claims.release(wrong)
  }

  const record = async (items: readonly Item[], signal: AbortSignal | undefined): Promise<void> => {
    const release = (): Promise<void> | undefined =>
      claims?.release(items.filter(({ claimed }) => claimed).map(({ claim }) => claim))
    let verdicts: readonly DedupVerdict[]
    try {
      verdicts = await store.record(
        items.map(({ entry }) => entry),
        signal === undefined ? {} : { signal }
      )
    } catch (error) {
      // A retry must not be told that it is a duplicate of what was never stored.
      await release()
      throw error
    }
    await settleClaims(items, verdicts)
    items.forEach((item, at) => {
      const verdict = verdicts[at] as DedupVerdict
      item.outcome = verdict.outcome === 'new' ? stored(item) : repeated(item, verdict.outcome, verdict.firstReceivedAt)
    })
  }

  const failed = (error: unknown, signal: AbortSignal | undefined): MeteringError<'STORE_FAILED'> => {
    const failure = storeFailure('record usage', error, signal)
    if (failure === undefined) throw error
    report({ type: 'usage.store-failed', error: failure })
    return failure
  }

  return {
    async take(held, signal) {
      const at = now()
      const items = held.map((one) => {
        const item = itemOf(one, one.receivedAt)
        noteDrift(one.usage, item.driftMs, at)
        return item
      })
      const outcomes = new Map<HeldUsage, BatchOutcome>()
      const asked = await screen(items, false, signal)
      for (let from = 0; from < asked.length; from += ENTRIES_MAX) {
        const part = asked.slice(from, from + ENTRIES_MAX)
        try {
          await record(part, signal)
        } catch (error) {
          const failure = failed(error, signal)
          // What would fail again is the caller's to hear of.
          const isHeld = posture.onStoreFailure === 'journal' && isPassing(failure)
          const held = part.map(async (item) => {
            item.outcome = isHeld ? await hold(item, 'store-unavailable') : { outcome: 'unknown', error: failure }
          })
          await Promise.all(held)
        }
      }
      for (const { held: one, outcome } of [...items, ...asked]) if (outcome !== undefined) outcomes.set(one, outcome)
      return held.map((one) => outcomes.get(one) as BatchOutcome)
    },

    async settle(held, signal) {
      const at = now()
      const asked = await screen(
        held.map((one) => itemOf(one, at)),
        true,
        signal
      )
      try {
        if (asked.length > 0) await record(asked, signal)
      } catch (error) {
        throw failed(error, signal)
      }
    }
  }
}
