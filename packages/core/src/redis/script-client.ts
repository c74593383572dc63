import { CoreError, type Issue } from '../failure/core-error.ts'

/** The settings of an ioredis connection that decide what a lost reply means. As ioredis declares them, `undefined` too. */
export interface ScriptClientSettings {
  readonly enableOfflineQueue?: boolean | undefined
  readonly maxRetriesPerRequest?: number | null | undefined
  readonly commandTimeout?: number | undefined
  readonly keyPrefix?: string | undefined
  /** Of a cluster. */
  readonly retryDelayOnFailover?: number | undefined
}

/** The part of an ioredis `Redis` that scripts need. */
export interface ScriptNode {
  /** `ready` when commands can be sent. */
  readonly status: string
  info(section: string): Promise<string>
}

/** The part of an ioredis `Redis` or `Cluster` that scripts need. */
export interface ScriptClient extends ScriptNode {
  readonly options: ScriptClientSettings & { readonly redisOptions?: ScriptClientSettings | undefined }
  evalsha(sha1: string, numberOfKeys: number, ...keysAndArguments: (string | Uint8Array)[]): Promise<unknown>
  eval(lua: string, numberOfKeys: number, ...keysAndArguments: (string | Uint8Array)[]): Promise<unknown>
  connect(): Promise<void>
  once(event: 'ready' | 'end', listener: () => void): unknown
  removeListener(event: 'ready' | 'end', listener: () => void): unknown
  /** Of a cluster. */
  nodes?(role: 'master'): readonly ScriptNode[]
}

/** Long enough for a slow script behind others, short enough for a decision: unless given, a call fails after this. */
const COMMAND_TIMEOUT_MS = 1_000

/** What `new Redis(url, redisSettings())` needs so that a script runs once and a call ends in time. */
export function redisSettings(options: { readonly commandTimeoutMs?: number } = {}): {
  enableOfflineQueue: false
  maxRetriesPerRequest: 0
  commandTimeout: number
} {
  return {
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    commandTimeout: options.commandTimeoutMs ?? COMMAND_TIMEOUT_MS
  }
}

/** What `new Cluster(nodes, clusterSettings())` needs so that a script runs once and a call ends in time. */
export function clusterSettings(options: { readonly commandTimeoutMs?: number } = {}): {
  enableOfflineQueue: false
  retryDelayOnFailover: 0
  redisOptions: { maxRetriesPerRequest: 0; commandTimeout: number }
} {
  return {
    enableOfflineQueue: false,
    // Otherwise ioredis sends a command whose reply was lost to another node, up to 16 times.
    retryDelayOnFailover: 0,
    redisOptions: { maxRetriesPerRequest: 0, commandTimeout: options.commandTimeoutMs ?? COMMAND_TIMEOUT_MS }
  }
}

/**
 * Throws `INVALID_OPTIONS` for a connection on which a call could wait for ever or a queue could grow without bound,
 * both of which ioredis does by default.
 */
export function checkSettings(client: ScriptClient): void {
  const { options } = client
  const node = isCluster(client) ? (options.redisOptions ?? {}) : options
  const base = isCluster(client) ? 'options.redisOptions' : 'options'
  const issues: Issue[] = []
  if (options.enableOfflineQueue !== false) {
    issues.push({
      path: 'options.enableOfflineQueue',
      message: 'must be false: the queue has no bound and no deadline'
    })
  }
  if (!(typeof node.commandTimeout === 'number' && node.commandTimeout > 0 && Number.isFinite(node.commandTimeout))) {
    issues.push({ path: `${base}.commandTimeout`, message: 'must be set: a lost reply would be awaited for ever' })
  }
  if (!(typeof node.maxRetriesPerRequest === 'number' && node.maxRetriesPerRequest >= 0)) {
    issues.push({ path: `${base}.maxRetriesPerRequest`, message: 'must be a number, best 0: null resends without end' })
  }
  if (`${options.keyPrefix ?? ''}${node.keyPrefix ?? ''}`.includes('{')) {
    issues.push({
      path: 'options.keyPrefix',
      message: 'must not hold a brace: it would replace the hash tag of every key'
    })
  }
  if (issues.length === 0) return
  const summary = issues.map(({ path, message }) => `${path} ${message}`).join('; ')
  throw new CoreError('INVALID_OPTIONS', `createScriptRunner refused its connection: ${summary}`, {
    subject: 'createScriptRunner',
    issues
  })
}

/**
 * Whether ioredis may send a command again whose reply was lost, so that any later failure leaves open whether it ran.
 * With the settings that this module recommends it does not.
 */
export function mayResend(client: ScriptClient): boolean {
  const { options } = client
  if (isCluster(client)) return options.retryDelayOnFailover !== 0 || options.redisOptions?.maxRetriesPerRequest !== 0
  return options.maxRetriesPerRequest !== 0
}

function isCluster(client: ScriptClient): boolean {
  return client.nodes !== undefined
}
