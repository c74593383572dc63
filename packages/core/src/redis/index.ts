export { hashTagged, hashTagOf } from './hash-tag.ts'
export { type RedisBreakerStateStore, redisBreakerStateStore } from './redis-breaker-state-store.ts'
export { type RedisLockStore, redisLockStore } from './redis-lock-store.ts'
export { type RedisTokenBucketStore, redisTokenBucketStore } from './redis-token-bucket-store.ts'
export { defineScript, type Script } from './script.ts'
export {
  clusterSettings,
  redisSettings,
  type ScriptClient,
  type ScriptClientSettings,
  type ScriptNode
} from './script-client.ts'
export { SCRIPT_INTEGER_MAX, type ScriptArgument } from './script-parameters.ts'
export {
  optionalReplyInteger,
  optionalReplyText,
  replyInteger,
  replyList,
  replyText,
  type ScriptReply
} from './script-reply.ts'
export { createScriptRunner, type ScriptRunner } from './script-runner.ts'
