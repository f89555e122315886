/** `kilnix/tree`: files and folders of the host as trees. */
export { HOST_ATTRIBUTES, type ScanPolicy, scanHost } from '../tree/scan.ts'
export * from './nodes.ts'
export * from './vocabulary.ts'
