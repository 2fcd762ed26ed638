/* SPDX-License-Identifier: Apache-2.0
 * A real board (Arduino core): runs the model's self-test over and over, says over serial whether
 * it passed and how long an inference takes, and shows it on the LED: slow blinking is good, fast
 * is bad. Replace fill_inputs() with your sensor and you have an application. */
#include <Arduino.h>
#include <string.h>

#include "tinyq/model.h"

#ifndef TQ_MODEL
#error "say which model to run: custom_tinyq_name in platformio.ini"
#endif
extern "C" const tq_model TQ_MODEL;

static const tq_model &model = TQ_MODEL;

static void fill_inputs() {
    for (unsigned i = 0; i < model.input_count; i++) {
        memset(model.input(i), 0, model.input_bytes[i]);
    }
}

static unsigned long inference_micros() {
    fill_inputs();
    const unsigned long start = micros();
    model.invoke();
    return micros() - start;
}

static void blink(unsigned long half_period, int times) {
    for (int i = 0; i < times; i++) {
        digitalWrite(LED_BUILTIN, HIGH);
        delay(half_period);
        digitalWrite(LED_BUILTIN, LOW);
        delay(half_period);
    }
}

void setup() {
    pinMode(LED_BUILTIN, OUTPUT);
    Serial.begin(115200);
}

void loop() {
    const int failed = model.init(NULL) != TQ_OK ? -1 : model.selftest();
    Serial.print(model.name);
    if (failed == 0) {
        Serial.print(": self-test passed, one inference takes ");
        Serial.print(inference_micros());
        Serial.println(" us");
    } else {
        Serial.print(": self-test FAILED: ");
        Serial.println(failed);
    }
    blink(failed == 0 ? 500 : 50, failed == 0 ? 2 : 20);
}
