export { type QuickjsHostOptions, quickjsHost } from './quickjs-host.ts'
