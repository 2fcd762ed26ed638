*** Comments ***
SPDX-License-Identifier: Apache-2.0
The model's self-test on every core that Renode has; build the images first with `pio run`.

*** Settings ***
Suite Setup       Setup
Suite Teardown    Teardown
Test Teardown     Test Teardown
Resource          ${RENODEKEYWORDS}
Test Template     Self-Test Should Pass

*** Test Cases ***
Cortex-M0     m0
Cortex-M3     m3
Cortex-M4     m4
Cortex-M7     m7
Cortex-M33    m33

*** Keywords ***
Self-Test Should Pass
    [Arguments]    ${core}
    Execute Command    $bin=@${CURDIR}/../.pio/build/${core}/firmware.elf
    Execute Script    ${CURDIR}/${core}.resc
    Create Terminal Tester    sysbus.cpu.semihosting    timeout=60
    Start Emulation
    Wait For Line On Uart    self-test passed
