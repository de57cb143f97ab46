package httpapi_test

import (
	"encoding/base64"
	"encoding/json/v2"
	"fmt"
	"strings"
	"testing"

	"example.org/keyserver/api"
	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/testkit"
)

func TestABatchOfTheMostRequestsIsTakenFromWhoOrders(t *testing.T) {
	k := testkit.NewWith(t, testkit.Options{World: testkit.Factory(law.DuplicatesRefused)})
	k.Certify("root")
	k.Certify("ca-dev")
	o := k.Lot(1)
	one := base64.StdEncoding.EncodeToString(k.DeviceRequest("SN-1", k.NewDeviceKey()))
	in := api.NewDeviceBatch{Operation: string(o.ID), KeyID: "ca-dev"}
	for i := range keyserver.MaxDevices {
		in.Requests = append(in.Requests, api.NewDeviceRequest{IdempotencyKey: fmt.Sprint(i), CSR: one})
	}
	body, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	if len(body) <= api.MaxBody {
		t.Fatalf("the batch has only %d bytes", len(body))
	}
	answer, p := send(k, "olga", "POST", api.PathDeviceBatch, string(body))
	if answer.StatusCode != 200 {
		t.Errorf("it answers %d: %v", answer.StatusCode, p)
	}
	if answer, p = send(k, "alice", "POST", api.PathDeviceBatch, string(body)); p.Kind() != api.TooLarge {
		t.Errorf("from who orders nothing it answers %d: %v", answer.StatusCode, p)
	}
	if answer, p = send(k, "olga", "POST", api.PathDeviceBatch, strings.Repeat(" ", api.MaxBatchBody)+string(body)); p.Kind() != api.TooLarge {
		t.Errorf("one that is too long answers %d: %v", answer.StatusCode, p)
	}
}
