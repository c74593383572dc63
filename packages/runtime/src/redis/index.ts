export { type RedisPoolState, redisPoolState } from './redis-pool-state.ts'
