export { seededRandom } from './seeded-random.ts'
export { withStoreClock } from './store-clock.ts'
export { type TestPlatform, testPlatform } from './test-platform.ts'
export { type VirtualClock, virtualClock } from './virtual-clock.ts'
