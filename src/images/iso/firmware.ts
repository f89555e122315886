export const ISO_FIRMWARES = ['bios', 'uefi', 'both'] as const

/** What may start an ISO. */
export type IsoFirmware = (typeof ISO_FIRMWARES)[number]
