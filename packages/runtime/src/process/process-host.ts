import { spawnSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import path from 'node:path'
import process from 'node:process'
import { type Platform, parseOptions, reporter, systemPlatform } from '@enablement/core'
import { z } from 'zod'
import type { Cgroup } from '../cgroup/cgroup.ts'
import { createCgroup, probeCgroups } from '../cgroup/create-cgroup.ts'
import { RuntimeError } from '../runtime-error.ts'
import type { HostCapabilities, HostSandbox, SandboxHooks, SandboxHost, SandboxSpec } from '../sandbox/sandbox-host.ts'
import { checkSpec } from '../sandbox/sandbox-spec-schema.ts'
import { type BubblewrapOptions, bubblewrapCommand, type Command, findProgram, WORKSPACE } from './bubblewrap.ts'
import { parseRule } from './egress/allow-list.ts'
import { type EgressConnect, type EgressLookup, openEgressProxy } from './egress/egress-proxy.ts'
import controlSource from './guest-control.ts?worker-text'
import guestSource from './guest-program.ts?worker-text'
import { launch } from './launch.ts'
import { defaultStateFolder, openStateFolder, sandboxFolder } from './lease.ts'
import { childrenOf, identify } from './proc.ts'
import type { ProcessEvent } from './process-event.ts'
import { decodeImage, type ProcessImage } from './process-image.ts'
import { type OpenedProcess, openProcess, type StartedProcess, softLimitOf } from './process-sandbox.ts'
import { type ReapReport, reapIn } from './reap.ts'
import { sandboxProcesses } from './sandbox-processes.ts'
import { workspaceMount } from './workspace-mount.ts'

/** How sandboxes of processes are hosted. */
export interface ProcessHostOptions {
  /**
   * `bubblewrap` (the default, Linux): namespaces of their own, no network but what `egress` allows, a workspace in memory
   * with an exact quota, nothing of the machine but its programs. `none`: plain processes with the rights of this one, for
   * code that you would run yourself.
   */
  readonly isolation?: 'bubblewrap' | 'none'
  /** What a checkpoint holds besides the workspace: with `cooperative`, the default, what the guest hands over. */
  readonly checkpoint?: 'cooperative' | 'workspace'
  /** Size of the workspace, which lies in memory and counts into `memoryLimitBytes`. Default 32 MiB. `bubblewrap` only. */
  readonly diskLimitBytes?: number
  /** Processes and threads at a time in one sandbox; Node itself takes a dozen. Default 256. */
  readonly processesMax?: number
  /** Where guests may connect to. Nowhere unless given. `bubblewrap` only. */
  readonly egress?: EgressOptions
  /** A guest at its limit waits for a larger one instead of being killed; needs a control group. Default false. */
  readonly pauseOnOom?: boolean
  /**
   * What V8 may use for its heap, which it must know when it starts: give the most that `resizeMemory` will ever raise to.
   * By default what fits the limit that a sandbox starts with.
   */
  readonly heapLimitBytes?: number
  /** Folders of this machine that guests can read, each at the same path inside. `bubblewrap` only. */
  readonly readOnlyPaths?: readonly string[]
  /** The guests' environment, besides what they need anyway. Nothing of the host's own environment reaches them. */
  readonly environment?: Readonly<Record<string, string>>
  /** Control groups: where they are mounted and under which of them sandboxes get theirs; `none` to do without. */
  readonly cgroup?: { readonly root?: string; readonly parent?: string } | 'none'
  /** The program `bwrap`. By default the one on PATH. */
  readonly bwrap?: string
  /** The program `node` that guests run on. By default the one that runs this. */
  readonly node?: string
  /** Folder for leases and sockets, of this user alone. By default one in `/run/user` or the temporary folder. */
  readonly stateFolder?: string
  /** Sandboxes open at a time, in [1, 1,000]. Default 64. */
  readonly sandboxesMax?: number
  readonly platform?: Platform
  readonly observe?: (event: ProcessEvent) => void
}

/** The way out of a sandbox. */
export interface EgressOptions {
  /** `name:port`, `*.domain:port` for every name below it, `192.0.2.1:port`, `[2001:db8::1]:port`. */
  readonly allow: readonly string[]
  /** Gives the addresses of a name. By default the machine's resolver. */
  readonly lookup?: EgressLookup
  /** Connects to an address that was judged. By default directly. */
  readonly connect?: EgressConnect
}

/** A host of sandboxes that are processes. */
export interface ProcessHost extends SandboxHost {
  /** Ends what hosts of this user that were killed have left behind. Happens by itself before the first sandbox. */
  reap(): Promise<ReapReport>
}

const MIB = 1_048_576

/** Node takes 40 MiB to start, most of them pages of its program. */
const MEMORY_MIN_BYTES = 64 * MIB
const DISK_LIMIT_BYTES = 32 * MIB

/** What a process takes besides its JavaScript heap: code, stacks, the heap of the thread that holds the pipe. */
const OUTSIDE_HEAP_BYTES = 20 * MIB
const HEAP_MIN_BYTES = 16 * MIB

/** The longest single argument of a command on Linux, MAX_ARG_STRLEN. */
const ARGUMENT_MAX_BYTES = 131_071

const ALLOW_MAX = 1_000

const text = z.string().min(1).max(4_096)
const absolutePath = text.refine((value) => path.isAbsolute(value), 'must be absolute')
const isFunction = (value: unknown): boolean => typeof value === 'function'

const schema: z.ZodType<ProcessHostOptions> = z.strictObject({
  isolation: z.enum(['bubblewrap', 'none']).optional(),
  checkpoint: z.enum(['cooperative', 'workspace']).optional(),
  diskLimitBytes: z
    .int()
    .min(MIB)
    .max(1_024 * 1_024 * MIB)
    .optional(),
  processesMax: z.int().min(32).max(32_768).optional(),
  egress: z
    .strictObject({
      allow: z
        .array(text.refine((rule) => parseRule(rule) !== undefined, 'must be name:port, *.domain:port or address:port'))
        .max(ALLOW_MAX),
      lookup: z.custom(isFunction).optional(),
      connect: z.custom(isFunction).optional()
    })
    .optional(),
  pauseOnOom: z.boolean().optional(),
  heapLimitBytes: z.int().min(HEAP_MIN_BYTES).optional(),
  readOnlyPaths: z.array(absolutePath).max(100).optional(),
  environment: z.record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/), z.string().max(32_768)).optional(),
  cgroup: z
    .union([z.literal('none'), z.strictObject({ root: absolutePath.optional(), parent: absolutePath.optional() })])
    .optional(),
  bwrap: absolutePath.optional(),
  node: absolutePath.optional(),
  stateFolder: absolutePath.optional(),
  sandboxesMax: z.int().min(1).max(1_000).optional(),
  platform: z.custom((value) => typeof value === 'object' && value !== null).optional(),
  observe: z.custom(isFunction).optional()
}) as unknown as z.ZodType<ProcessHostOptions>

const isLinux = process.platform === 'linux'

/**
 * Hosts sandboxes as processes: Node with a program of ours, in a bubblewrap sandbox or plain. The guest finds what guests
 * in QuickJS find, and Node. Synchronous code is interrupted, memory is bounded by a control group where this process may
 * make one, and whatever a guest starts ends with it, however this process ends.
 *
 * Throws `INVALID_OPTIONS`, `ISOLATION_UNAVAILABLE` when bubblewrap is missing or does not work here, and `NOT_SUPPORTED`
 * for what the isolation that was asked for cannot give.
 */
export function processHost(options: ProcessHostOptions = {}): ProcessHost {
  const checked = parseOptions(schema, 'processHost', options)
  const {
    isolation = 'bubblewrap',
    diskLimitBytes = DISK_LIMIT_BYTES,
    processesMax = 256,
    pauseOnOom = false
  } = checked
  const { egress, readOnlyPaths = [], environment = {}, sandboxesMax = 64, heapLimitBytes } = checked
  const { platform = systemPlatform, node = process.execPath, stateFolder = defaultStateFolder() } = checked
  const { clock } = platform
  const observe = checked.observe === undefined ? () => undefined : reporter(checked.observe)
  const checkpoint = isLinux ? (checked.checkpoint ?? 'cooperative') : 'none'
  const isWrapped = isolation === 'bubblewrap'
  if (process.platform === 'win32') {
    throw new RuntimeError('NOT_SUPPORTED', 'sandboxes of processes do not run on Windows: use quickjsHost', {
      host: 'process',
      capability: 'isolation'
    })
  }
  if (!isWrapped) refuseWithoutIsolation(checked)
  const bwrap = isWrapped ? usableBubblewrap(checked.bwrap, node) : undefined
  const nsenter = isWrapped ? findProgram('nsenter', process.env['PATH']) : undefined
  const place = checked.cgroup === 'none' || !isLinux ? undefined : { ...checked.cgroup, platform }
  const groups = place === undefined ? undefined : probeCgroups(place)
  const hasMemoryGroup = groups !== undefined && groups.memory !== 'none'
  const capabilities: HostCapabilities = {
    checkpoint,
    memoryLimit: hasMemoryGroup ? 'hard' : isLinux ? 'soft' : 'none',
    resizeMemory: isLinux ? 'live' : 'none',
    readOnly: nsenter === undefined ? 'none' : 'remount',
    pauseOnOom: pauseOnOom && groups?.pauseOnOom === true,
    diskQuota: isWrapped,
    network: isWrapped ? (egress === undefined ? 'none' : 'filtered') : 'host',
    gpu: !isWrapped
  }
  if (pauseOnOom && !capabilities.pauseOnOom) {
    const message = 'pauseOnOom needs a control group whose killer can be switched off, and this machine gives none'
    throw new RuntimeError('NOT_SUPPORTED', message, { host: 'process', capability: 'pauseOnOom' })
  }

  const open = new Map<string, { readonly incarnation: number; readonly opened: Promise<OpenedProcess> }>()
  let reaped: Promise<ReapReport> | undefined
  let closing: Promise<void> | undefined

  const reap = (): Promise<ReapReport> => {
    reaped = (async () => {
      openStateFolder(stateFolder)
      const report = await reapIn(stateFolder, { clock, place })
      if (report.sandboxes > 0) observe({ type: 'process.reaped', ...report })
      return report
    })()
    return reaped
  }

  const notStarted = (sandboxId: string, reason: string): Error =>
    new RuntimeError('SANDBOX_NOT_STARTED', `sandbox ${sandboxId} was not started: ${reason}`, { sandboxId, reason })

  /** The guest's program and V8's bounds. A semi-space counts three times: two of them, and what survives both. */
  const guestCommand = (spec: SandboxSpec): Command => {
    const soft = softLimitOf(spec)
    const heap = heapLimitBytes ?? Math.max(HEAP_MIN_BYTES, soft - OUTSIDE_HEAP_BYTES)
    const semiSpace = Math.max(1, Math.min(16, Math.floor(heap / (64 * MIB))))
    for (const source of [guestSource, controlSource]) {
      if (Buffer.byteLength(source) > ARGUMENT_MAX_BYTES) throw new Error('the guest program is too long')
    }
    return {
      program: isWrapped ? 'node' : node,
      args: [
        `--max-old-space-size=${Math.floor(heap / MIB)}`,
        `--max-semi-space-size=${semiSpace}`,
        '-e',
        // In a scope of its own: what stands at the top of it would be there for the guest, and its names be taken.
        `(()=>{${guestSource}\n})()`,
        controlSource
      ]
    }
  }

  const group = (name: string, spec: SandboxSpec): Cgroup | undefined => {
    if (place === undefined || groups === undefined || groups.processes === 'none') {
      if (!hasMemoryGroup) return undefined
    }
    return createCgroup({
      ...place,
      name,
      ...(hasMemoryGroup ? { memoryLimitBytes: spec.memoryLimitBytes, pauseOnOom: capabilities.pauseOnOom } : {}),
      ...(groups?.processes === 'none' ? {} : { processesMax })
    })
  }

  const begin = async (spec: SandboxSpec): Promise<StartedProcess> => {
    const folder = sandboxFolder(stateFolder)
    const mark = `ENABLEMENT_SANDBOX=${folder.name}`
    const host = identify(process.pid) ?? { pid: process.pid, startTime: '0', bootId: '' }
    const undo: (() => unknown)[] = [() => folder.remove()]
    const cleanUp = async (): Promise<void> => {
      for (const step of undo.splice(0).reverse()) await Promise.resolve(step()).catch(() => undefined)
    }
    try {
      // Before there is anything to find again.
      folder.write({ host, mark, cgroup: folder.name })
      const cgroup = group(folder.name, spec)
      if (cgroup !== undefined) undo.push(() => cgroup.remove())
      const workspace = path.join(folder.path, 'workspace')
      if (!isWrapped) mkdirSync(workspace, { mode: 0o700 })
      let egressSocket: string | undefined
      if (egress !== undefined) {
        egressSocket = path.join(folder.path, 'egress.sock')
        const proxy = await openEgressProxy({
          ...egress,
          socket: egressSocket,
          observe: (attempt) => observe({ type: 'process.egress', sandboxId: spec.sandboxId, ...attempt })
        })
        undo.push(() => proxy.close())
      }
      const command = guestCommand(spec)
      const wrapping: BubblewrapOptions | undefined =
        bwrap === undefined
          ? undefined
          : {
              bwrap,
              node,
              diskLimitBytes,
              readOnlyPaths,
              environment,
              ...(egressSocket === undefined ? {} : { egressSocket })
            }
      const launched = await launch(wrapping === undefined ? command : bubblewrapCommand(wrapping, command), {
        folder: wrapping === undefined ? workspace : '/',
        environment: {
          ...(wrapping === undefined ? plainEnvironment(workspace, node, environment) : {}),
          ENABLEMENT_SANDBOX: folder.name
        }
      })
      const first = identify(launched.pid) ?? { pid: launched.pid, startTime: '0', bootId: '' }
      undo.push(() => launched.child.kill('SIGKILL'))
      cgroup?.add(launched.pid)
      folder.write({ host, first, mark, cgroup: folder.name })
      undo.pop()
      let status = ''
      launched.status.on('data', (piece: Buffer) => {
        if (status.length < 10_000) status += piece.toString('latin1')
      })
      const initPid = (): number | undefined => {
        const text = /"child-pid": ?(\d+)/.exec(status)?.[1]
        return text === undefined ? undefined : Number(text)
      }
      const processes = sandboxProcesses(clock, {
        first,
        mark,
        isContained: isWrapped,
        ...(cgroup === undefined ? {} : { cgroup })
      })
      return {
        launched,
        processes,
        cgroup,
        isWrapped,
        checkpoint,
        filesAreMemory: isWrapped,
        canResize: capabilities.resizeMemory === 'live',
        innermost: () => (initPid() === undefined ? undefined : identify(initPid() as number)),
        locate() {
          if (!isWrapped) return { guestPid: launched.pid, workspace }
          const [guestPid] = childrenOf(initPid() ?? 0)
          if (guestPid === undefined) throw new Error('its first process was not found')
          return { guestPid, workspace: `/proc/${guestPid}/root${WORKSPACE}` }
        },
        mount: (guestPid, inside) =>
          nsenter === undefined ? undefined : workspaceMount({ nsenter, guestPid, folder: inside, diskLimitBytes }),
        cleanUp
      }
    } catch (error) {
      await cleanUp()
      throw error instanceof RuntimeError ? error : notStarted(spec.sandboxId, (error as Error).message)
    }
  }

  const start = async (
    spec: SandboxSpec,
    hooks: SandboxHooks,
    image: ProcessImage | undefined
  ): Promise<HostSandbox> => {
    checkSpec('processHost', spec)
    const { sandboxId, incarnation, memoryLimitBytes } = spec
    const least = MEMORY_MIN_BYTES + (isWrapped ? diskLimitBytes : 0)
    if (memoryLimitBytes < least) {
      const parts = isWrapped ? `Node's ${MEMORY_MIN_BYTES} and the workspace's ${diskLimitBytes}` : "Node's own need"
      throw notStarted(sandboxId, `its ${memoryLimitBytes} bytes of memory are less than ${least}: ${parts}`)
    }
    if (closing !== undefined) throw new RuntimeError('CLOSED', 'the process host was closed', { what: 'process host' })
    const before = open.get(sandboxId)
    if (before !== undefined && before.incarnation >= incarnation) {
      throw notStarted(sandboxId, `incarnation ${before.incarnation} of it is open, ${incarnation} is no newer`)
    }
    if (before === undefined && open.size >= sandboxesMax) {
      throw new RuntimeError('OVERLOADED', `${open.size} sandboxes are open, as many as this host takes`, {
        what: 'process sandboxes',
        count: open.size,
        limit: sandboxesMax
      })
    }
    const opened = (async () => {
      await (reaped ?? reap())
      if (before !== undefined) await before.opened.then(({ sandbox }) => sandbox.kill()).catch(() => undefined)
      return await openProcess(clock, await begin(spec), spec, hooks, image)
    })()
    const entry = { incarnation, opened }
    open.set(sandboxId, entry)
    const forget = (): void => {
      if (open.get(sandboxId) === entry) open.delete(sandboxId)
    }
    try {
      const { sandbox, ended } = await opened
      void ended.then(forget)
      if (closing !== undefined) {
        await sandbox.kill()
        throw new RuntimeError('CLOSED', 'the process host was closed', { what: 'process host' })
      }
      return sandbox
    } catch (error) {
      forget()
      throw error
    }
  }

  const close = (): Promise<void> => {
    closing ??= Promise.all(
      [...open.values()].map(({ opened }) => opened.then(({ sandbox }) => sandbox.kill()).catch(() => undefined))
    ).then(() => undefined)
    return closing
  }

  return {
    kind: 'process',
    capabilities,
    // Files and JSON are read by every version.
    engine: () => Promise.resolve('process:1'),
    create: (spec, hooks) => start(spec, hooks, undefined),
    async restore(image, spec, hooks) {
      checkSpec('processHost', spec)
      const decoded = await decodeImage(image)
      return { sandbox: await start(spec, hooks, decoded), evaluation: 'none', calls: [] }
    },
    reap,
    close,
    [Symbol.asyncDispose]: close
  }
}

/** What plain processes find around them. */
const plainEnvironment = (
  workspace: string,
  node: string,
  environment: Readonly<Record<string, string>>
): Record<string, string> => ({
  PATH: `${path.dirname(node)}:/usr/local/bin:/usr/bin:/bin`,
  HOME: workspace,
  TMPDIR: workspace,
  LANG: 'C.UTF-8',
  ...environment
})

function refuseWithoutIsolation(options: ProcessHostOptions): void {
  for (const name of ['egress', 'diskLimitBytes', 'readOnlyPaths', 'bwrap'] as const) {
    if (options[name] === undefined) continue
    const message = `${name} needs isolation 'bubblewrap': plain processes have the network and the files of this one`
    throw new RuntimeError('NOT_SUPPORTED', message, { host: 'process', capability: name })
  }
}

/** Finds bwrap and tries it. Throws `ISOLATION_UNAVAILABLE`. */
function usableBubblewrap(given: string | undefined, node: string): string {
  const unavailable = (reason: string): Error =>
    new RuntimeError(
      'ISOLATION_UNAVAILABLE',
      `no bubblewrap sandbox can be made here: ${reason}. Install bubblewrap (Debian, Ubuntu: apt-get install bubblewrap; ` +
        `Fedora: dnf install bubblewrap; Alpine: apk add bubblewrap) and allow user namespaces, use quickjsHost, or accept ` +
        `plain processes with the rights of this one: processHost({ isolation: 'none' })`,
      { isolation: 'bubblewrap', reason }
    )
  if (!isLinux) throw unavailable(`it is part of Linux, and this is ${process.platform}`)
  const bwrap = given ?? findProgram('bwrap', process.env['PATH'])
  if (bwrap === undefined) throw unavailable('the program bwrap was not found')
  const { program, args } = bubblewrapCommand(
    { bwrap, node, diskLimitBytes: MIB, readOnlyPaths: [], environment: {} },
    { program: 'node', args: ['--version'] }
  )
  const { error, status, stderr } = spawnSync(program, args, {
    env: {},
    cwd: '/',
    // A pipe for its status: it cannot write to what `ignore` opens, and when it fails there it leaves a child behind.
    stdio: ['ignore', 'ignore', 'pipe', 'ignore', 'pipe'],
    timeout: 10_000,
    encoding: 'utf8'
  })
  if (error !== undefined) throw unavailable(error.message)
  if (status !== 0) throw unavailable(stderr.trim().split('\n').at(-1)?.slice(0, 300) ?? `bwrap ended with ${status}`)
  return bwrap
}
