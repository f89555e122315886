/** The smallest multiple of `unit` that is not below `value`; both are safe integers. */
export function alignUp(value: number, unit: number): number {
  const rest = value % unit
  return rest === 0 ? value : value + unit - rest
}

/** How many whole units hold `value`. */
export function unitsFor(value: number, unit: number): number {
  return Math.ceil(value / unit)
}
