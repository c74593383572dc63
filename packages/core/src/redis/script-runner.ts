import { z } from 'zod'
import { CoreError } from '../failure/core-error.ts'
import { parseOptions } from '../failure/options.ts'
import { type Platform, systemPlatform } from '../platform.ts'
import type { Script } from './script.ts'
import { checkSettings, mayResend, type ScriptClient } from './script-client.ts'
import { REDIS, replyCode, scriptFailure, unavailable, withoutArguments } from './script-failure.ts'
import { type ScriptArgument, scriptParameters } from './script-parameters.ts'
import type { ScriptReply } from './script-reply.ts'

/** Runs scripts on one Redis or Redis Cluster. Owns nothing: the connection stays the caller's to close. */
export interface ScriptRunner {
  /**
   * Runs `script` once, by its hash; a server that does not know it (restarted, flushed, another node) is sent the text.
   * All keys must carry one and the same hash tag, see `hashTagged`.
   *
   * Throws `INVALID_OPTIONS` before anything is sent, `STORE_UNAVAILABLE` (it had no effect), `COMMIT_UNKNOWN` (it may
   * have run: repeat it under its idempotency key) and `SCRIPT_FAILED` (it ended with an error). The connection's
   * `commandTimeout` bounds the wait.
   */
  run(script: Script, keys: readonly string[], args: readonly ScriptArgument[]): Promise<ScriptReply>
  /**
   * Waits until the connection is ready, then asks every master whether it would evict keys. Call it once at start.
   *
   * Throws `STORE_UNSUITABLE` when a `maxmemory-policy` is not `noeviction`: quotas, locks and dedup records would
   * vanish under memory pressure, without an error. Throws `STORE_UNAVAILABLE` when there is no connection within 10 s
   * or a master does not answer, and the signal's reason.
   */
  checkServer(options?: { readonly signal?: AbortSignal }): Promise<void>
}

/** As long as ioredis itself waits for a connection. */
const READY_WAIT_MS = 10_000

/** States in which a command is surely not sent, or would lie in a queue. In `wait`, a first command connects. */
const SENDING: ReadonlySet<string> = new Set(['ready', 'wait'])

const runnerOptions: z.ZodType<{ readonly platform?: Platform }> = z.strictObject({
  platform: z.custom<Platform>((value) => typeof value === 'object' && value !== null).exactOptional()
})

/**
 * Runs scripts through `client`, an ioredis `Redis` or `Cluster`. Throws `INVALID_OPTIONS` for a connection whose
 * settings could let a call wait for ever or queue without bound; `redisSettings` and `clusterSettings` have good ones.
 */
export function createScriptRunner(client: ScriptClient, options: { readonly platform?: Platform } = {}): ScriptRunner {
  const { platform = systemPlatform } = parseOptions(runnerOptions, 'createScriptRunner', options)
  checkSettings(client)
  const resends = mayResend(client)

  const refuseWhileDown = (script: Script): void => {
    if (!SENDING.has(client.status)) throw unavailable(script, `the connection is in state ${client.status}`)
  }

  return {
    async run(script, keys, args) {
      const parameters = scriptParameters(script, keys, args)
      refuseWhileDown(script)
      // A first command on a connection in `wait` is refused before it is sent, never resent.
      const resent = resends && client.status === 'ready'
      try {
        return (await client.evalsha(script.sha1, keys.length, ...parameters)) as ScriptReply
      } catch (error) {
        if (replyCode(error) !== 'NOSCRIPT') throw scriptFailure(script, error, resent)
      }
      refuseWhileDown(script)
      try {
        return (await client.eval(script.lua, keys.length, ...parameters)) as ScriptReply
      } catch (error) {
        throw scriptFailure(script, error, resent)
      }
    },
    async checkServer({ signal } = {}) {
      await ready(client, platform, signal)
      const masters = client.nodes?.('master') ?? [client]
      await Promise.all(
        masters.map(async (master) => {
          // INFO rather than CONFIG GET, which managed services forbid.
          const info = await master.info('memory').catch((error: unknown) => {
            throw unreachable('the server did not answer INFO', error)
          })
          const found = /^maxmemory_policy:(\S+)/m.exec(info)?.[1] ?? 'unknown'
          if (found === 'noeviction') return
          throw new CoreError(
            'STORE_UNSUITABLE',
            `redis would evict keys: maxmemory-policy is ${found} and must be noeviction`,
            { store: REDIS, setting: 'maxmemory-policy', found }
          )
        })
      )
    }
  }
}

function ready(client: ScriptClient, platform: Platform, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason as Error)
    if (client.status === 'ready') return resolve()
    if (client.status === 'end') return reject(unreachable('the connection was closed'))
    const stop = (): void => {
      timer.cancel()
      client.removeListener('ready', onReady)
      client.removeListener('end', onEnd)
      signal?.removeEventListener('abort', onAbort)
    }
    const onReady = (): void => {
      stop()
      resolve()
    }
    const onEnd = (): void => {
      stop()
      reject(unreachable('the connection was closed'))
    }
    const onAbort = (): void => {
      stop()
      reject(signal?.reason as Error)
    }
    const timer = platform.clock.startTimer(READY_WAIT_MS, () => {
      stop()
      reject(unreachable(`no connection within ${READY_WAIT_MS} ms`))
    })
    client.once('ready', onReady)
    client.once('end', onEnd)
    signal?.addEventListener('abort', onAbort, { once: true })
    // Its failure is not final: ioredis goes on trying, and `end` or the timer tells when to give up.
    if (client.status === 'wait') client.connect().catch(() => {})
  })
}

function unreachable(reason: string, error?: unknown): CoreError<'STORE_UNAVAILABLE'> {
  return new CoreError(
    'STORE_UNAVAILABLE',
    `redis could not be checked: ${reason}`,
    { store: REDIS, operation: 'check the server' },
    error === undefined ? {} : { cause: withoutArguments(error) }
  )
}
