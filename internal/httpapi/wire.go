package httpapi

import (
	"time"

	"example.org/keyserver/api"
	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/law"
)

// texts writes ids as plain strings.
func texts[S ~string](ids []S) []string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = string(id)
	}
	return out
}

// millis writes a time in milliseconds since 1970 UTC, 0 if there is none.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func keyOut(k law.Key) api.Key {
	return api.Key{
		KeyID: string(k.ID), Type: string(k.Type), Algorithm: string(k.Algorithm), Hash: string(k.Hash), Schemes: texts(k.Schemes),
		Requirement: k.Requirement.People(), MaxValidMS: k.MaxValidity.Milliseconds(), MaxUsageCount: k.MaxUses,
		Approvals: string(k.Approvals), ArtifactsNeeded: k.ArtifactsNeeded, State: string(k.State), Keystore: k.Keystore,
		Version: k.Version, Fingerprint: k.Fingerprint, Adopted: k.Adopted, MayLeave: k.MayLeave, Profile: profileOut(k.Profile),
		Devices: devicesOut(k.Devices), Attributes: (*api.KeyAttributes)(k.Attributes),
	}
}

func operationOut(o keyserver.Operation) api.Operation {
	out := api.Operation{
		ID: string(o.ID), Server: o.Server, Nonce: o.Nonce, Digest: string(o.Digest), State: api.State(o.State), Revision: o.Revision,
		Orderer: api.Principal{Subject: string(o.Orderer.Subject), Issuer: o.Orderer.Issuer, Sub: o.Orderer.Sub},
		Behind:  string(o.Behind), Clients: texts(o.Clients), Description: o.Description, Context: o.Context,
		Created: millis(o.Created), Expires: millis(o.Expires), Used: o.Used(), Obstacles: o.Obstacles, CountsFor: texts(o.Counts),
	}
	progress := map[law.KeyID]law.KeyProgress{}
	for _, p := range o.Progress {
		progress[p.Key] = p
	}
	for _, k := range o.Keys {
		p, u := progress[k.Key], o.Usage[k.Key]
		out.Keys = append(out.Keys, api.OperationKey{
			KeyID: string(k.Key), Fingerprint: k.Fingerprint, MaxUsageCount: k.MaxUses, Requirement: k.Requirement.People(),
			Needed: p.Needed.People(), ApprovedBy: texts(p.Counted), Taken: u.Taken, Signed: u.Signed,
			DeviceProfile: k.Devices, KeyProfiles: k.Profiles,
		})
	}
	for _, a := range o.Artifacts {
		out.Artifacts = append(out.Artifacts, api.Artifact{Name: a.Name, Size: a.Size, Hash: string(a.Hash), Digest: a.Digest})
	}
	for _, c := range o.Claims {
		out.Claims = append(out.Claims, api.Claim{Name: c.Name, Present: c.Present, Value: c.Value})
	}
	for _, a := range o.Approvals {
		out.Approvals = append(out.Approvals, api.Approval{By: string(a.By), Covers: texts(a.Covers), At: millis(a.At), Withdrawn: millis(a.Withdrawn)})
	}
	if !o.Ending.At.IsZero() {
		out.Ended = &api.Ended{At: millis(o.Ending.At), By: string(o.Ending.By), Reason: o.Ending.Reason}
	}
	return out
}
