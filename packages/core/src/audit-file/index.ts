export { type FileCheckpointSink, type FileCheckpointSinkOptions, fileCheckpointSink } from './file-checkpoint-sink.ts'
