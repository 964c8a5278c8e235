package libvirt

import (
	"encoding/xml"
	"errors"
	"fmt"
	"os"
	"strings"
)

// maxXML bounds a document, in bytes: REMOTE_STRING_MAX of libvirt's protocol.
const maxXML = 4 << 20

// domainXML is what of a domain's document is looked at.
type domainXML struct {
	XMLName xml.Name `xml:"domain"`
	Type    string   `xml:"type,attr"`
	Name    string   `xml:"name"`
	UUID    string   `xml:"uuid"`
	Kernel  string   `xml:"os>kernel"`
	Initrd  string   `xml:"os>initrd"`
	Disks   []struct {
		Source struct {
			File string `xml:"file,attr"`
		} `xml:"source"`
	} `xml:"devices>disk"`
	Interfaces []interfaceXML `xml:"devices>interface"`
}

type interfaceXML struct {
	Type string `xml:"type,attr"`
	MAC  struct {
		Address string `xml:"address,attr"`
	} `xml:"mac"`
	Source struct {
		Network string `xml:"network,attr"`
		Bridge  string `xml:"bridge,attr"`
	} `xml:"source"`
	Target struct {
		Dev string `xml:"dev,attr"`
	} `xml:"target"`
	Model struct {
		Type string `xml:"type,attr"`
	} `xml:"model"`
	Port struct {
		Type       string `xml:"type,attr"`
		Parameters struct {
			InterfaceID string `xml:"interfaceid,attr"`
		} `xml:"parameters"`
	} `xml:"virtualport"`
}

// capabilitiesXML is what a daemon can run: the types of domains, of every architecture.
type capabilitiesXML struct {
	XMLName xml.Name  `xml:"capabilities"`
	Domains []virtXML `xml:"guest>arch>domain"`
}

type virtXML struct {
	Type string `xml:"type,attr"`
}

// networkXML is what makes two networks the same to a domain.
type networkXML struct {
	XMLName xml.Name `xml:"network"`
	Name    string   `xml:"name"`
	Forward struct {
		Mode string `xml:"mode,attr"`
	} `xml:"forward"`
	Bridge struct {
		Name string `xml:"name,attr"`
	} `xml:"bridge"`
	Port struct {
		Type string `xml:"type,attr"`
	} `xml:"virtualport"`
}

// parse reads a document of a domain or network.
func parse[T any](document string) (T, error) {
	var v T
	if len(document) > maxXML {
		return v, fmt.Errorf("the document has %d bytes; libvirt takes %d", len(document), maxXML)
	}
	if err := xml.Unmarshal([]byte(document), &v); err != nil {
		return v, fmt.Errorf("the document cannot be read: %w", err)
	}
	return v, nil
}

// missingImages is an error that names the files which the domain is started
// from and which are not there. libvirt itself says so at the start only.
func (d domainXML) missingImages() error {
	files := []struct{ what, path string }{{"kernel", d.Kernel}, {"initrd", d.Initrd}}
	for _, disk := range d.Disks {
		files = append(files, struct{ what, path string }{"disk image", disk.Source.File})
	}
	var errs []error
	for _, f := range files {
		if f.path = strings.TrimSpace(f.path); f.path == "" {
			continue
		}
		if info, err := os.Stat(f.path); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", f.what, err))
		} else if info.IsDir() {
			errs = append(errs, fmt.Errorf("%s: %s is a directory", f.what, f.path))
		}
	}
	return errors.Join(errs...)
}
