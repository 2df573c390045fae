package hubhttp

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/hub"
)

var bulkRoutes = []route{
	{"POST", "/devices", changeDevices},
	{"POST", "/devices/keys/regenerate", regenerateKeys},
}

// changeDevices answers the same body whether all entries succeeded, with 200,
// or some failed, with 400 (service-api 2.5).
func changeDevices(c *call) error {
	b, err := c.json()
	if err != nil {
		return err
	}
	items, err := parseBulk(b)
	if err != nil {
		return err
	}
	failed, err := c.backend.Bulk(c.r.Context(), items)
	if err != nil {
		return err
	}
	body := appendBulk(nil, failed)
	if len(failed) == 0 {
		return c.reply(http.StatusOK, body)
	}
	return partly(fault.BulkRegistryOperationFailure, body, len(failed), len(items))
}

// partly makes the fault of a bulk call whose body tells what failed.
func partly(code *fault.Code, body []byte, failed, all int) error {
	e := code.New("%d of %d entries failed, the body says why", failed, all)
	e.Detail = map[string]any{bodyDetail: body}
	return e
}

func appendBulk(b []byte, failed []hub.BulkError) []byte {
	b = strconv.AppendBool(append(b, `{"isSuccessful":`...), len(failed) == 0)
	b = append(b, `,"errors":[`...)
	for n, f := range failed {
		if n > 0 {
			b = append(b, ',')
		}
		b = appendText(append(b, `{"deviceId":`...), f.ID.Device)
		b = appendTextOrNull(append(b, `,"moduleId":`...), f.ID.Module)
		b = appendWhy(b, f.Why)
		b = appendText(append(b, `,"operation":`...), string(f.Operation))
		b = append(b, '}')
	}
	return append(b, `],"warnings":[]}`...)
}

// appendWhy appends number and text of an entry's failure; one SDK reads
// numbers only.
func appendWhy(b []byte, why *fault.Error) []byte {
	b = strconv.AppendInt(append(b, `,"errorCode":`...), int64(why.Code.ID), 10)
	return appendText(append(b, `,"errorStatus":`...), why.Text)
}

// parseBulk reads the entries of a bulk call (service-api 5.6). A defect in
// one of them refuses the call as a whole: nothing has been done yet.
func parseBulk(b []byte) ([]hub.BulkItem, error) {
	v, err := nave.ParseValue(b)
	if err != nil {
		return nil, malformed(err)
	}
	list, ok := v.([]any)
	if !ok {
		return nil, fault.ArgumentInvalid.New("the body is no array, expected is an array of devices")
	}
	items := make([]hub.BulkItem, 0, len(list))
	for n, v := range list {
		d, ok := v.(nave.Doc)
		if !ok {
			return nil, fault.ArgumentInvalid.New("entry %d is no object", n)
		}
		item, err := parseItem(d)
		if err != nil {
			return nil, fault.ArgumentInvalid.Wrap(err, "entry %d: %s", n, fault.From(err).Text)
		}
		items = append(items, item)
	}
	return items, nil
}

func parseItem(d nave.Doc) (item hub.BulkItem, err error) {
	if item.ID, err = itemID(d); err != nil {
		return item, err
	}
	mode, err := memberText(d, "importMode")
	if err != nil {
		return item, err
	}
	if item.Mode, err = hub.ParseMode(mode); err != nil {
		return item, err
	}
	if item.Patch, err = nave.IdentityOf(d, item.ID.IsModule()); err != nil {
		return item, err
	}
	// The ids of an entry are id and moduleId; a deviceId beside them says nothing.
	item.Patch.ID = nave.ID{}
	etag, err := memberText(d, "eTag")
	if err == nil && etag == "" {
		etag, err = memberText(d, "etag") // the service SDK for Node passes devices on as it read them
	}
	if err != nil {
		return item, err
	}
	twin, err := memberText(d, "twinETag")
	if err != nil {
		return item, err
	}
	item.ETag, item.TwinETag = bare(etag), bare(twin)
	p, _, err := nave.PatchOf(d, false)
	if err == nil && (p.Tags != nil || p.Desired != nil) {
		item.Twin = &p
	}
	return item, err
}

// itemID reads id and moduleId; a number stands for its text (service-api 2.1).
func itemID(d nave.Doc) (id nave.ID, err error) {
	if id.Device, err = memberText(d, "id"); err != nil {
		return id, err
	}
	if id.Device == "" {
		return id, fault.ArgumentInvalid.New("id is missing")
	}
	id.Module, err = memberText(d, "moduleId")
	return id, err
}

func memberText(d nave.Doc, name string) (string, error) {
	switch v := d[name].(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	case json.Number:
		return v.String(), nil
	}
	return "", fault.ArgumentInvalid.New("%s is no string", name)
}

// regenerateKeys answers 200, 207 when some identities failed, and 400 when
// all did (service-api 2.6).
func regenerateKeys(c *call) error {
	b, err := c.json()
	if err != nil {
		return err
	}
	key, ids, err := parseRegenerate(b)
	if err != nil {
		return err
	}
	done, failed, err := c.backend.Rotate(c.r.Context(), key, ids)
	if err != nil {
		return err
	}
	body := appendKeys(nil, key, done, failed)
	switch {
	case len(failed) == 0:
		return c.reply(http.StatusOK, body)
	case len(done) > 0:
		return c.reply(http.StatusMultiStatus, body)
	}
	return partly(fault.BulkRegenerateDeviceKeyOperationFailure, body, len(failed), len(ids))
}

func parseRegenerate(b []byte) (key hub.PolicyKey, ids []nave.ID, err error) {
	d, err := nave.ParseDoc(b)
	if err != nil {
		return "", nil, malformed(err)
	}
	text, err := memberText(d, "policyKey")
	if err != nil {
		return "", nil, err
	}
	key = hub.PolicyKey(text)
	for _, known := range []hub.PolicyKey{hub.PrimaryKey, hub.SecondaryKey, hub.BothKeys} {
		if strings.EqualFold(text, string(known)) {
			key = known
		}
	}
	list, ok := d["devices"].([]any)
	if !ok && d["devices"] != nil {
		return "", nil, fault.ArgumentInvalid.New("devices is no array")
	}
	for n, v := range list {
		entry, ok := v.(nave.Doc)
		if !ok {
			return "", nil, fault.ArgumentInvalid.New("devices[%d] is no object", n)
		}
		id, err := itemID(entry)
		if err != nil {
			return "", nil, fault.ArgumentInvalid.Wrap(err, "devices[%d]: %s", n, fault.From(err).Text)
		}
		ids = append(ids, id)
	}
	return key, ids, nil
}

func appendKeys(b []byte, key hub.PolicyKey, done []*nave.Identity, failed []hub.BulkError) []byte {
	b = appendText(append(b, `{"policyKey":`...), string(key))
	b = append(b, `,"rotatedKeys":[`...)
	for n, i := range done {
		b = appendItemID(b, n, i.ID)
		b = appendText(append(b, `,"primaryKey":`...), i.Auth.Primary)
		b = appendText(append(b, `,"secondaryKey":`...), i.Auth.Secondary)
		b = append(b, '}')
	}
	b = append(b, `],"errors":[`...)
	for n, f := range failed {
		b = append(appendWhy(appendItemID(b, n, f.ID), f.Why), '}')
	}
	return append(b, `]}`...)
}

func appendItemID(b []byte, n int, id nave.ID) []byte {
	if n > 0 {
		b = append(b, ',')
	}
	b = appendText(append(b, `{"id":`...), id.Device)
	return appendTextOrNull(append(b, `,"moduleId":`...), id.Module)
}
