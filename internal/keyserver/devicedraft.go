package keyserver

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/pki"
	"example.org/keyserver/internal/store"
)

// errRedraw says that certificates were drawn up by what is not so any more. Nothing was stored.
var errRedraw = errors.New("the profile or the certificate of the key has changed meanwhile")

// drawnDevices are certificates that are drawn up, and by what.
type drawnDevices struct {
	profile   string
	authority law.CertificateID
	asks      []law.DeviceAsk
	ids       []law.CertificateID
}

// drawDevices draws certificates up and looks for errors in them, outside of any transaction. What is wrong the law says,
// once it has judged who asks.
func (k *Keyserver) drawDevices(ctx context.Context, c Caller, id law.OperationID, issuer law.KeyID, orders []DeviceOrder) (drawnDevices, error) {
	type basis struct {
		authority pki.Authority
		fault     error
		now       time.Time
		sees      bool
	}
	out := drawnDevices{asks: make([]law.DeviceAsk, len(orders)), ids: make([]law.CertificateID, len(orders))}
	on, err := look(ctx, k, func(r *store.Reader) (basis, error) {
		b := basis{now: r.Now()}
		o, known, err := r.Operation(id)
		if err != nil {
			return b, err
		}
		b.sees = known && r.Facts().Sees(c.Subject, o.Operation)
		key, known := r.Facts().Key(issuer)
		if !known || key.Devices == nil || !b.sees {
			b.fault = errors.New("nothing is drawn up for this key") // the law has another reason to refuse
			return b, nil
		}
		out.profile = key.Devices.Digest()
		current, _, err := currentOf(r, key)
		if err != nil {
			return b, err
		}
		out.authority = current.ID
		b.authority, b.fault, err = authorityOf(r, key)
		return b, err
	})
	if err != nil {
		return out, err
	}
	if !on.sees { // the law says that there is no such operation
		return out, nil
	}
	var linter *pki.Linter
	if on.fault == nil {
		if linter, err = k.linter(on.authority.Key); err != nil {
			return out, err
		}
	}
	var failed error
	var once sync.Once
	parallel(len(orders), runtime.GOMAXPROCS(0), func(i int) {
		draw, err := newDrawing()
		if err != nil {
			once.Do(func() { failed = err })
			return
		}
		out.ids[i] = draw.id
		out.asks[i] = draw.device(on.authority, on.fault, linter, orders[i].Request, on.now)
		out.asks[i].Authority, out.asks[i].Draft.Authority = out.authority, out.authority
	})
	return out, failed
}

// device draws up the certificate of a device, by the profile of the authority.
func (d drawing) device(authority pki.Authority, fault error, linter *pki.Linter, raw []byte, now time.Time) law.DeviceAsk {
	sum := sha256.Sum256(raw)
	ask := law.DeviceAsk{Request: hex.EncodeToString(sum[:])}
	ask.Draft.Request = ask.Request
	refuse := func(wrong error) law.DeviceAsk {
		ask.Draft.Fault = wrong.Error()
		return ask
	}
	request, err := pki.ParseDeviceRequest(raw)
	if err != nil {
		return refuse(err)
	}
	ask.Request = request.Digest()
	ask.Draft.Request = ask.Request
	if fault != nil {
		return refuse(fault)
	}
	draft, device, err := pki.PrepareDevice(authority, request, now, d.serial)
	if err != nil {
		return refuse(err)
	}
	if err := linter.Lint(draft.TBS()); err != nil {
		return refuse(err)
	}
	ask.Draft = law.DeviceDraft{
		CertificateDraft: law.CertificateDraft{
			Draft: draftOf(draft, nil), Fingerprint: device.Fingerprint, Serial: d.serial.Text(16), NotBefore: device.NotBefore, NotAfter: device.NotAfter,
		},
		Device: device.Identity, Request: device.Request, Profile: device.Profile,
	}
	return ask
}

// linters are kept: making one for an RSA key takes seconds.
type linters struct {
	sync.Mutex
	of map[string]*pki.Linter
}

// linter returns what looks for errors in certificates that the key issues.
func (k *Keyserver) linter(key law.Key) (*pki.Linter, error) {
	k.linters.Lock()
	defer k.linters.Unlock()
	kind := fmt.Sprintf("%s %s %v", key.Algorithm, key.Hash, key.Schemes)
	if l, made := k.linters.of[kind]; made {
		return l, nil
	}
	l, err := pki.NewLinter(key, rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("preparing to look for errors in certificates of key %s: %w", key.ID, err)
	}
	if k.linters.of == nil {
		k.linters.of = map[string]*pki.Linter{}
	}
	k.linters.of[kind] = l
	return l, nil
}

// parallel does n things, so many at the same time.
func parallel(n, at int, do func(i int)) {
	var group sync.WaitGroup
	next := make(chan int)
	for range min(n, at) {
		group.Go(func() {
			for i := range next {
				do(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	group.Wait()
}

// placedBefore finds what was placed under these keys before, and the certificates of that.
func placedBefore(r *store.Reader, under []store.OrderKey) ([]*law.Order, map[law.CertificateID]law.Certificate, error) {
	prior := make([]*law.Order, len(under))
	var ids []string
	for i, key := range under {
		order, known, err := r.OrderByKey(key)
		if err != nil {
			return nil, nil, err
		}
		if known {
			prior[i] = &order
			ids = append(ids, string(order.ID))
		}
	}
	own, err := r.CertificatesByID(ids)
	return prior, own, err
}

// again is what is asked of an order that was placed before: its certificate is the one that was drawn up then. It is of the
// profile of now, and of the certificate of now, only if it would be drawn up the same today.
func again(ask law.DeviceAsk, was law.Certificate, prior law.Order) law.DeviceAsk {
	today := ask.Draft
	ask.Draft = law.DeviceDraft{
		CertificateDraft: law.CertificateDraft{
			Draft: law.Draft{TBS: was.TBS, Input: prior.Input, Fault: today.Fault}, Fingerprint: was.Fingerprint, Serial: was.Serial,
			NotBefore: was.NotBefore, NotAfter: was.NotAfter,
		},
		Device: was.Device, Request: was.Request, Authority: today.Authority,
	}
	if today.Device == was.Device && pki.Alike(was.TBS, today.TBS) {
		ask.Draft.Profile = today.Profile
	}
	return ask
}

// rivals are the certificates of a key pair by device identity and by device key.
type rivals map[string][]law.Certificate

func rivalsOf(r *store.Reader, key law.Key, asks []law.DeviceAsk) (rivals, error) {
	var devices, fingerprints []string
	for _, a := range asks {
		if a.Draft.Device != "" {
			devices, fingerprints = append(devices, a.Draft.Device), append(fingerprints, a.Draft.Fingerprint)
		}
	}
	found, err := r.DevicesLike(key.ID, key.Fingerprint, devices, fingerprints)
	all := rivals{}
	for _, c := range found {
		all.add(c)
	}
	return all, err
}

func (r rivals) add(c law.Certificate) {
	r["device "+c.Device] = append(r["device "+c.Device], c)
	r["key "+c.Fingerprint] = append(r["key "+c.Fingerprint], c)
}

func (r rivals) of(device, fingerprint string) []law.Certificate {
	return append(append([]law.Certificate(nil), r["device "+device]...), r["key "+fingerprint]...)
}
