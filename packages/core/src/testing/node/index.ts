export { type FaultProxy, type FaultProxyOptions, faultProxy } from './fault-proxy.ts'
