/** Milliseconds that this process has computed. Unlike the time on the wall it does not follow what else the machine does. */
export function cpuMilliseconds(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}
