import { type ApprovalGate, parseOptions, reporter, systemPlatform } from '@enablement/core'
import { z } from 'zod'
import type { GuestNotice } from '../sandbox/sandbox-host.ts'
import { approvedFiles, type DeletionAsk, type DeletionSubject, deletionAsk } from './delete-request.ts'
import { deleteListedFiles, type FileDeletion } from './deletion.ts'
import type { DiskEvent, DiskReading } from './disk-event.ts'
import { callbackSchema, type DiskMonitorOptions, monitorFields, portSchema, startDiskMonitor } from './disk-monitor.ts'
import { findLargeFiles, type ListedFile } from './large-files.ts'

/** What a guard needs of a sandbox. */
export interface GuardedDisk {
  /** Gives what was done, such as `remount`. Absent where the host cannot. */
  setReadOnly?(readOnly: boolean): Promise<unknown>
  tell(notice: GuestNotice): unknown
}

/** Whose disk is guarded, and how. */
export interface DiskGuardOptions extends DeletionSubject, Omit<DiskMonitorOptions, 'observe'> {
  readonly sandbox: GuardedDisk
  readonly approvals: ApprovalGate
  /** Allocated bytes from which a file is offered for deletion. Default 10 MiB. */
  readonly minBytes?: number
  /** Globs, relative to the root, of what is never deleted, such as `checkpoints/**`. Repositories never are. */
  readonly protect?: readonly string[]
  readonly procRoot?: string
  readonly observe?: (event: DiskEvent) => void
}

/** Guards a sandbox's disk until it is closed. */
export interface DiskGuard extends AsyncDisposable {
  reading(): DiskReading | undefined
  /** Whether writing is stopped. */
  isReadOnly(): boolean
  /** Looks now, and resolves when what follows from it at once is done; a verdict is not waited for. */
  check(): Promise<void>
  /** Ends the guarding, and leaves the sandbox as it is. A request that is open stays open. */
  close(): Promise<void>
}

const schema = z.strictObject({
  ...monitorFields,
  tenant: z.string().min(1),
  agent: z.string().min(1),
  sandboxId: z.string().min(1),
  sandbox: portSchema,
  approvals: portSchema,
  minBytes: z.int().min(1).optional(),
  protect: z.array(z.string().min(1)).max(1_000).optional(),
  procRoot: z.string().startsWith('/').optional(),
  observe: callbackSchema.optional()
}) as unknown as z.ZodType<DiskGuardOptions>

/** A search costs seconds of disk time, and what it did not find it will hardly find five seconds later. */
const SEARCH_AGAIN_MS = 60_000

type DiskReport = DiskEvent extends infer Event
  ? Event extends DiskEvent
    ? Omit<Event, keyof DeletionSubject>
    : never
  : never
type FailedStep = Extract<DiskReport, { readonly type: 'disk.step-failed' }>['step']

const noticeOf = (type: GuestNotice['type']): GuestNotice => ({
  type,
  reason: 'disk_full',
  capabilities: ['workspace-write']
})

/** From critical until it is not: one request, however often it is looked at. */
interface Episode {
  /** Ends the search and the wait for the verdict. */
  readonly over: AbortController
  /** Kept when the gate fails, so that it is asked the same again. */
  wanted?: DeletionAsk
  searchedAt?: number
  isRequestTold: boolean
  /** `settled`: nothing more comes of it. */
  request: 'none' | 'under-way' | 'settled'
}

/**
 * Stops a sandbox's writes while its disk is critically full, and asks for the deletion of large files: one request an
 * episode. What was approved is deleted as far as it is unchanged. Writing goes on when the disk is below critical again,
 * with hysteresis, whoever made the room. Throws `INVALID_OPTIONS`.
 */
export function createDiskGuard(options: DiskGuardOptions): DiskGuard {
  const checked = parseOptions(schema, 'createDiskGuard', options)
  const { tenant, agent, sandboxId, sandbox, approvals, minBytes, protect, procRoot, observe, ...watching } = checked
  const { root, platform = systemPlatform } = watching
  const subject: DeletionSubject = { tenant, agent, sandboxId }
  const observer = reporter(observe)
  const report = (event: DiskReport): void => observer({ ...subject, ...event })
  const places = { ...(protect === undefined ? {} : { protect }), ...(procRoot === undefined ? {} : { procRoot }) }
  let episode: Episode | undefined
  /** The last list that a request was settled for, and how many were: the next episode asks anew. */
  let settled = { key: '', times: 0 }
  let readOnly = false
  let isTold = false
  let closed = false
  let reconciling: Promise<void> | undefined
  let isOutdated = false
  let deleting: Promise<unknown> | undefined
  /** Changes of the sandbox's access follow one another. */
  let turn: Promise<unknown> = Promise.resolve()

  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const next = turn.then(work)
    turn = next.catch(() => undefined)
    return next
  }

  const attempt = async (step: FailedStep, work: () => Promise<unknown>): Promise<void> => {
    try {
      await work()
    } catch (error) {
      if (!closed) report({ type: 'disk.step-failed', step, error })
    }
  }

  const tell = async (type: GuestNotice['type']): Promise<void> => {
    if (isTold === (type === 'degraded')) return
    isTold = type === 'degraded'
    await attempt('tell', async () => sandbox.tell(noticeOf(type)))
  }

  const setReadOnly = (wanted: boolean): Promise<void> =>
    attempt(wanted ? 'read-only' : 'writable', () =>
      inTurn(async () => {
        if (readOnly === wanted) return
        const how = await sandbox.setReadOnly?.(wanted)
        readOnly = wanted
        report(
          wanted ? { type: 'disk.read-only', how: typeof how === 'string' ? how : 'none' } : { type: 'disk.writable' }
        )
      })
    )

  /** Deletes while the disk is read-only, where its host left us the right; else it is lifted for as long as that takes. */
  const deleteFiles = async (files: readonly ListedFile[]): Promise<readonly FileDeletion[]> => {
    const options = { ...places, platform }
    const deletions = await deleteListedFiles(root, files, options)
    const barred = files.filter((_, index) => isBarred(deletions[index]))
    if (barred.length === 0) return deletions
    const again = await inTurn(async () => {
      if (readOnly) await sandbox.setReadOnly?.(false)
      try {
        return await deleteListedFiles(root, barred, options)
      } finally {
        if (readOnly) await sandbox.setReadOnly?.(true)
      }
    })
    let next = 0
    return deletions.map((deletion) => (isBarred(deletion) ? (again[next++] ?? deletion) : deletion))
  }

  const carryOut = async (requestId: string): Promise<'settled' | 'none'> => {
    const execution = await approvals.execute(requestId, async ({ detail }) => {
      const deletions = await deleteFiles(approvedFiles(detail))
      return { deletions: deletions.map((deletion) => ({ ...deletion })) }
    })
    if (execution.outcome !== 'executed') {
      report({ type: 'disk.deletion-elsewhere', execution })
      return execution.outcome === 'busy' ? 'none' : 'settled'
    }
    const { deletions } = execution.result
    const reclaimedBytes = deletions.reduce((sum, one) => sum + (one.outcome === 'deleted' ? one.reclaimedBytes : 0), 0)
    report({ type: 'disk.deleted', deletions, reclaimedBytes })
    return 'settled'
  }

  /** From the request to the deletion; takes as long as people do. */
  const decide = async (current: Episode, wanted: DeletionAsk): Promise<void> => {
    const { signal } = current.over
    try {
      const { id } = await approvals.request(wanted.ask)
      const { files, reclaimableBytes } = wanted
      if (!current.isRequestTold) {
        report({ type: 'disk.approval-requested', approvalRequestId: id, files, reclaimableBytes })
      }
      current.isRequestTold = true
      const verdict = await approvals.settled(id, { signal })
      if (verdict.outcome === 'approved') {
        const carriedOut = carryOut(id)
        deleting = carriedOut.catch(() => undefined)
        current.request = await carriedOut
      } else {
        current.request = 'settled'
        report({ type: 'disk.deletion-refused', verdict })
      }
      if (current.request === 'settled') {
        settled = { key: wanted.key, times: settled.key === wanted.key ? settled.times + 1 : 1 }
      }
      if (verdict.outcome === 'approved' && !closed) await monitor.check()
    } catch (error) {
      current.request = 'none'
      if (!signal.aborted) report({ type: 'disk.step-failed', step: 'approval', error })
    }
  }

  const search = async (current: Episode): Promise<void> => {
    const { signal } = current.over
    const now = platform.clock.monotonic()
    if (current.searchedAt !== undefined && now - current.searchedAt < SEARCH_AGAIN_MS) return
    try {
      const found = await findLargeFiles(root, { ...places, ...(minBytes === undefined ? {} : { minBytes }), signal })
      const isFirst = current.searchedAt === undefined
      current.searchedAt = now
      const wanted = deletionAsk(subject, found.files, (key) => (key === settled.key ? settled.times : 0))
      if (wanted !== undefined) current.wanted = wanted
      else if (isFirst) report({ type: 'disk.nothing-to-delete' })
    } catch (error) {
      if (!signal.aborted) report({ type: 'disk.step-failed', step: 'search', error })
    }
  }

  /** Brings the sandbox to what the last reading demands. */
  const act = async (): Promise<void> => {
    const current = episode
    if (current === undefined) {
      await setReadOnly(false)
      if (!readOnly) await tell('recovered')
      return
    }
    await tell('degraded')
    await setReadOnly(true)
    if (current.wanted === undefined) await search(current)
    if (current.wanted === undefined || current.request !== 'none' || current.over.signal.aborted) return
    current.request = 'under-way'
    void decide(current, current.wanted)
  }

  const onReading = (reading: DiskReading): void => {
    if (closed) return
    if (reading.level === 'critical') episode ??= { over: new AbortController(), isRequestTold: false, request: 'none' }
    else {
      episode?.over.abort(new DOMException('the disk is no longer critical', 'AbortError'))
      episode = undefined
    }
    isOutdated = true
    reconciling ??= (async () => {
      while (isOutdated && !closed) {
        isOutdated = false
        await act()
      }
      reconciling = undefined
    })()
  }

  const monitor = startDiskMonitor(watching, report, onReading)

  const close = async (): Promise<void> => {
    closed = true
    episode?.over.abort(new DOMException('the guard was closed', 'AbortError'))
    await monitor.close()
    // What was approved is carried out to the end.
    await deleting
  }

  return {
    reading: monitor.reading,
    isReadOnly: () => readOnly,
    async check() {
      await monitor.check()
      await reconciling
    },
    close,
    [Symbol.asyncDispose]: close
  }
}

const isBarred = (deletion: FileDeletion | undefined): boolean =>
  deletion?.outcome === 'refused' && deletion.reason === 'EROFS'
