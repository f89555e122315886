/** `kilnix/cpio` */
export {
  CPIO_DEFAULTS,
  type CpioImage,
  type CpioOptions,
  type CpioPlan,
  type CpioRecord,
  cpio,
  type GrowingCpioFile,
  growingCpio,
} from '../archives/cpio/index.ts'
export * from './nodes.ts'
export * from './vocabulary.ts'
