/** The descriptor of an appliance (DMTF DSP0243, "Open Virtualization Format Specification" 1.1) with hardware that VirtualBox and VMware know. */

export interface OvfMachine {
  readonly name: string
  readonly cpuCount: number
  readonly memoryMebibytes: number
  readonly controller: 'sata' | 'ide' | 'lsilogic'
  readonly firmware: 'bios' | 'efi'
  readonly diskName: string
  /** Bytes of the virtual disk. */
  readonly capacity: number
}

const NAMESPACE = 'http://schemas.dmtf.org/ovf/envelope/1'
const CIM = 'http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2'
const STREAM_OPTIMIZED = 'http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized'

/** CIM_ResourceAllocationSettingData.ResourceType. */
const RESOURCE = { processor: 3, memory: 4, ide: 5, scsi: 6, ethernet: 10, disk: 17, storage: 20 } as const
/** CIM_OperatingSystem.OsType: 64-bit Linux. */
const LINUX_64 = 101
/** The first of VMware's with SATA; VirtualBox takes any. */
const HARDWARE_FAMILY = 'vmx-10'

const CONTROLLERS = {
  sata: { name: 'SATA controller', type: RESOURCE.storage, subType: 'AHCI' },
  ide: { name: 'IDE controller', type: RESOURCE.ide, subType: 'PIIX4' },
  lsilogic: { name: 'SCSI controller', type: RESOURCE.scsi, subType: 'lsilogic' },
} as const

/** The text, with the size of the disk's file. */
export function ovfText(machine: OvfMachine, fileSize: number): string {
  const name = escaped(machine.name)
  const controller = CONTROLLERS[machine.controller]
  const firmware = machine.firmware === 'efi' ? '\n      <vmw:Config ovf:required="false" vmw:key="firmware" vmw:value="efi"/>' : ''
  // Elements of an item stand in the order of their names, as the schema has them.
  const items = [
    item({
      AllocationUnits: 'hertz * 10^6',
      ElementName: `${machine.cpuCount} virtual CPUs`,
      InstanceID: 1,
      ResourceType: RESOURCE.processor,
      VirtualQuantity: machine.cpuCount,
    }),
    item({
      AllocationUnits: 'byte * 2^20',
      ElementName: `${machine.memoryMebibytes} MB of memory`,
      InstanceID: 2,
      ResourceType: RESOURCE.memory,
      VirtualQuantity: machine.memoryMebibytes,
    }),
    item({ Address: 0, ElementName: controller.name, InstanceID: 3, ResourceSubType: controller.subType, ResourceType: controller.type }),
    item({
      AddressOnParent: 0,
      ElementName: 'disk',
      HostResource: 'ovf:/disk/vmdisk1',
      InstanceID: 4,
      Parent: 3,
      ResourceType: RESOURCE.disk,
    }),
    item({
      AutomaticAllocation: 'true',
      Connection: 'NAT',
      ElementName: 'Ethernet adapter on NAT',
      InstanceID: 5,
      ResourceSubType: 'E1000',
      ResourceType: RESOURCE.ethernet,
    }),
  ]
  return `<?xml version="1.0" encoding="UTF-8"?>
<Envelope ovf:version="1.0" xml:lang="en-US" xmlns="${NAMESPACE}" xmlns:ovf="${NAMESPACE}" xmlns:rasd="${CIM}/CIM_ResourceAllocationSettingData" xmlns:vssd="${CIM}/CIM_VirtualSystemSettingData" xmlns:vmw="http://www.vmware.com/schema/ovf">
  <References>
    <File ovf:href="${machine.diskName}" ovf:id="file1" ovf:size="${fileSize}"/>
  </References>
  <DiskSection>
    <Info>Virtual disks</Info>
    <Disk ovf:capacity="${machine.capacity}" ovf:diskId="vmdisk1" ovf:fileRef="file1" ovf:format="${STREAM_OPTIMIZED}"/>
  </DiskSection>
  <NetworkSection>
    <Info>Networks</Info>
    <Network ovf:name="NAT">
      <Description>Network address translation</Description>
    </Network>
  </NetworkSection>
  <VirtualSystem ovf:id="${name}">
    <Info>A virtual machine</Info>
    <Name>${name}</Name>
    <OperatingSystemSection ovf:id="${LINUX_64}">
      <Info>The guest operating system</Info>
      <Description>Linux26_64</Description>
    </OperatingSystemSection>
    <VirtualHardwareSection>
      <Info>Virtual hardware</Info>
      <System>
        <vssd:ElementName>Virtual Hardware Family</vssd:ElementName>
        <vssd:InstanceID>0</vssd:InstanceID>
        <vssd:VirtualSystemIdentifier>${name}</vssd:VirtualSystemIdentifier>
        <vssd:VirtualSystemType>${HARDWARE_FAMILY}</vssd:VirtualSystemType>
      </System>
${items.join('\n')}${firmware}
    </VirtualHardwareSection>
  </VirtualSystem>
</Envelope>
`
}

function item(elements: Readonly<Record<string, string | number>>): string {
  const lines = Object.entries(elements).map(([element, value]) => `        <rasd:${element}>${value}</rasd:${element}>`)
  return `      <Item>\n${lines.join('\n')}\n      </Item>`
}

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
}
