package main

import (
	"fmt"

	"commerce.example/coordinator/supervisor"
)

// keysText is what is known of idempotency keys.
func keysText(k *supervisor.IdempotencyStatus) string {
	if k == nil {
		return ""
	}
	text := fmt.Sprintf("%s: %d of %d, %d in progress; %d answers kept, %s of %s", k.Mode, k.Keys, k.KeysLimit, k.InProgress,
		k.Answers, memory(uint64(k.Bytes)), memory(uint64(k.BytesLimit)))
	if k.OldestSeconds > 0 {
		text += ", the oldest key of " + seconds(k.OldestSeconds) + " ago"
	}
	return printable(text)
}

// keysMood is calm until keys that are not known are about to be refused.
func keysMood(k *supervisor.IdempotencyStatus) mood {
	switch {
	case k == nil || k.Keys < k.KeysLimit/10*9:
		return calm
	case k.Keys < k.KeysLimit:
		return watch
	}
	return alarm
}
