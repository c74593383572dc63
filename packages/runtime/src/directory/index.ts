export { type DirectoryCheckpointStoreOptions, directoryCheckpointStore } from './directory-checkpoint-store.ts'
